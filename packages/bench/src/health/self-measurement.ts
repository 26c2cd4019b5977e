/** The client's own quality: what it adds to the times it reports, and whether that is little enough. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { quantileSorted } from "@millrace/core";
import type { QuantilesUs, SelfMeasurement, ValidityLimits, WorkerHealth } from "../contracts.ts";
import { Canary } from "./canary.ts";

/** What a shard counted while the monitor ran. */
export interface ShardCounts {
  readonly worker: number;
  readonly reads: number;
  readonly textChunks: number;
  readonly mergedReads: number;
  /** startedUs - scheduledUs of requests that waited for no cap. */
  readonly startLatenessUs: readonly number[];
}

/** Requests per second: asked for and sent, NaN in a closed loop; and the span of the run. */
export interface LoadRates {
  readonly offeredQps: number;
  readonly sentQps: number;
  readonly seconds: number;
}

/** Share by which the rate sent may miss the rate asked for. */
const RATE_MISS = 0.02;
/** Sampling interval of the event loop's delay, ms. */
const RESOLUTION_MS = 1;

/** Measures the process it is in, from `start` to `end`. */
export class SelfMonitor {
  private readonly loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private readonly cpu = process.cpuUsage();
  private readonly canary: Canary;

  private constructor(canary: Canary) {
    this.canary = canary;
    this.loop.enable();
  }

  /** `clock`: µs from run start. */
  static async start(clock: () => number): Promise<SelfMonitor> {
    return new SelfMonitor(await Canary.start(clock));
  }

  /** Stops and sums up. */
  async end(counts: ShardCounts): Promise<WorkerHealth> {
    this.loop.disable();
    await this.canary.stop();
    const { user, system } = process.cpuUsage(this.cpu);
    const { loop } = this;
    const us = (ns: number): number =>
      Number.isFinite(ns) ? Math.max(0, ns / 1e3 - 1e3 * RESOLUTION_MS) : 0;
    return {
      worker: counts.worker,
      pid: process.pid,
      canaryAtUs: this.canary.atUs,
      canaryLatenessUs: this.canary.latenessUs,
      canary: quantilesOf(this.canary.latenessUs),
      eventLoop: {
        n: loop.count,
        mean: us(loop.mean),
        p50: us(loop.percentile(50)),
        p90: us(loop.percentile(90)),
        p99: us(loop.percentile(99)),
        max: us(loop.max),
      },
      startLateness: quantilesOf(counts.startLatenessUs),
      reads: counts.reads,
      textChunks: counts.textChunks,
      mergedReads: counts.mergedReads,
      cpuSeconds: (user + system) / 1e6,
      maxRssBytes: process.resourceUsage().maxRSS * 1024,
      clockOffsetUs: 0,
      clockUncertaintyUs: 0,
    };
  }
}

/** Puts the workers' figures together and judges them. */
export function selfMeasurement(
  workers: readonly WorkerHealth[],
  rates: LoadRates,
  limits: ValidityLimits,
): SelfMeasurement {
  const canary = quantilesOf(workers.flatMap(({ canaryLatenessUs }) => canaryLatenessUs));
  const worst = (of: (worker: WorkerHealth) => QuantilesUs): QuantilesUs =>
    workers.map(of).reduce((a, b) => (b.p99 > a.p99 ? b : a), quantilesOf([]));
  const startLateness = worst((worker) => worker.startLateness);
  const sum = (of: (worker: WorkerHealth) => number): number =>
    workers.reduce((total, worker) => total + of(worker), 0);
  const reads = sum((worker) => worker.reads);
  const reasons = reasonsAgainst(canary, startLateness, rates, limits);
  return {
    workers,
    canary,
    eventLoop: worst((worker) => worker.eventLoop),
    startLateness,
    textChunksPerRead: reads > 0 ? sum((worker) => worker.textChunks) / reads : 0,
    cores: rates.seconds > 0 ? sum((worker) => worker.cpuSeconds) / rates.seconds : 0,
    verdict: reasons.length === 0 ? "VALID" : "INVALID",
    reasons,
    limits,
  };
}

/** Limits of a run with these targets, µs. */
export function limitsFor(targets: {
  readonly ttftUs?: number;
  readonly tbtUs?: number;
}): ValidityLimits {
  const { ttftUs = Number.POSITIVE_INFINITY, tbtUs } = targets;
  return {
    canaryP99Us: tbtUs === undefined ? 3000 : tbtUs / 10,
    startLatenessP99Us: Math.min(10_000, ttftUs / 20),
  };
}

function reasonsAgainst(
  canary: QuantilesUs,
  startLateness: QuantilesUs,
  { offeredQps, sentQps }: LoadRates,
  { canaryP99Us, startLatenessP99Us }: ValidityLimits,
): string[] {
  const ms = (us: number): string => `${(us / 1e3).toFixed(1)} ms`;
  const reasons: string[] = [];
  if (canary.p99 > canaryP99Us)
    reasons.push(
      `The client read its own canary ${ms(canary.p99)} late (p99), more than ${ms(canaryP99Us)}: the gaps that it reports are its own.`,
    );
  if (startLateness.p99 > startLatenessP99Us)
    reasons.push(
      `Requests left ${ms(startLateness.p99)} after their time (p99), more than ${ms(startLatenessP99Us)}.`,
    );
  if (Math.abs(sentQps / offeredQps - 1) > RATE_MISS)
    reasons.push(
      `${sentQps.toFixed(2)} requests per second were sent, ${offeredQps.toFixed(2)} were asked for.`,
    );
  return reasons;
}

export function quantilesOf(values: readonly number[]): QuantilesUs {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return { n: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };
  return {
    n: sorted.length,
    mean: sorted.reduce((a, b) => a + b, 0) / sorted.length,
    p50: quantileSorted(sorted, 0.5),
    p90: quantileSorted(sorted, 0.9),
    p99: quantileSorted(sorted, 0.99),
    max: sorted[sorted.length - 1] as number,
  };
}
