/** Runs a deployment, once or several times, and measures the CPU time of the simulation loop alone. */
import { median } from "@millrace/core";
import type { RequestTable } from "@millrace/serving";
import {
  createCostModel,
  type PredictorSource,
  type SimulateOptions,
  type SimulationConfig,
  type SimulationResult,
  simulate,
} from "@millrace/sim";

/** CPU milliseconds of the loop: the first run, and the median of the further ones, null when there were none. */
export interface CoreCpu {
  readonly cold: number;
  readonly warm: number | null;
}

export interface MeasuredRun {
  readonly result: SimulationResult;
  readonly coreCpuMs: CoreCpu;
}

/** What is run. */
export interface Work {
  readonly config: SimulationConfig;
  readonly requests: RequestTable;
  readonly geometry: SimulateOptions["geometry"];
  readonly source: PredictorSource;
  /** Keep one row per batch. */
  readonly timeline: boolean;
  /** Runs to measure; null = one, unmeasured by intent, so that it may record a timeline. */
  readonly repeat: number | null;
  readonly stop?: NonNullable<SimulateOptions["stop"]>;
}

/**
 * Runs it. Repeated runs record no timeline, so that what is measured is the simulation; when a timeline is wanted, a
 * further run that is not measured records it. All runs give the same result.
 */
export function measure(work: Work): MeasuredRun {
  const times: number[] = [];
  let result: SimulationResult | undefined;
  for (let run = 0; run < (work.repeat ?? 1); run++) {
    const timed = once(work, work.repeat === null && work.timeline);
    times.push(timed.cpuMs);
    result = timed.result;
  }
  if (result === undefined || (work.timeline && result.timeline === null))
    result = once(work, work.timeline).result;
  const [cold = 0, ...rest] = times;
  return { result, coreCpuMs: { cold, warm: rest.length === 0 ? null : median(rest) } };
}

function once(work: Work, timeline: boolean): { result: SimulationResult; cpuMs: number } {
  // A cost model counts what it extrapolated, so that each run has its own.
  const costModel = createCostModel(work.config, work.source);
  let cpuMs = 0;
  const result = simulate(work.config, work.requests, {
    costModel,
    geometry: work.geometry,
    timeline,
    ...(work.stop === undefined ? {} : { stop: work.stop }),
    around: (loop) => {
      const before = process.cpuUsage();
      const ended = loop();
      const { user, system } = process.cpuUsage(before);
      cpuMs = (user + system) / 1000;
      return ended;
    },
  });
  return { result, cpuMs };
}
