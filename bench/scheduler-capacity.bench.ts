/**
 * Capacity under an SLO of sarathi-serve, vllm-v0 and orca: predicted by the twin, and measured on the real engine. Both are
 * the highest rate at which one schedule of requests, stretched and squeezed, keeps the promises. The real one is found
 * between two loads around the prediction, by where the worst figure over its limit crosses 1. Words: schedulers
 * (default all). Takes about a minute and a half each; runs are kept as in `calibration`.
 */
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LengthSpec, SchedulerName } from "@millrace/serving";
import { atRate, type ComparedFigure, type TwinSlo, twinCapacity } from "@millrace/sim/twin";
import { runDoubts } from "../packages/cli/src/calibration/doubts.ts";
import { measureAndCompare } from "../packages/cli/src/calibration/measure.ts";
import { userWorkload, withOverhead } from "../packages/cli/src/calibration/workloads.ts";
import { calibrated, usualKnobs } from "./calibrated.ts";
import type { KeptCapacity } from "./calibration-cases.ts";
import { report } from "./harness.ts";

const lengths: LengthSpec = {
  type: "range",
  prompt: { min: 16, max: 256 },
  output: { min: 8, max: 32 },
};
/** A pause of twice a chunk of 128 and its decodes is a stall. */
const promises: readonly TwinSlo[] = [
  { metric: "ttft", quantile: 0.9, limitSeconds: 2 },
  { metric: "tbt", quantile: 0.99, limitSeconds: 0.4 },
];
const SECONDS = 24;
/** Requests below which a 90th percentile has no ten samples beyond it. */
const LEAST = 101;
/** Rates tried, as shares of the predicted capacity. */
const SHARES = [0.94, 1.06];

const results =
  process.env.MILLRACE_RESULTS ??
  fileURLToPath(new URL("results/scheduler-capacity.jsonl", import.meta.url));
mkdirSync(dirname(results), { recursive: true });
const seed = Number(process.env.MILLRACE_SEED ?? 9100);
const wanted = process.argv.slice(2);
using calibration = await calibrated();
const { context, learnt, cost, folder, addedTokens } = calibration;
const schedulers: readonly SchedulerName[] = ["sarathi-serve", "vllm-v0", "orca"];
for (const scheduler of schedulers) {
  if (wanted.length > 0 && !wanted.includes(scheduler)) continue;
  const knobs = usualKnobs(scheduler);
  const settings = calibration.settings(knobs);
  const longest = settings.maxRequestTokens - addedTokens;
  const draw = (count: number) => userWorkload(lengths, count, 1, seed, longest);
  const capacityOf = (count: number) =>
    twinCapacity(settings, withOverhead(draw(count), addedTokens), cost, promises).qps;
  // The schedule is as long as it is served, so that both sides have the same requests.
  const count = Math.max(LEAST, Math.round(SECONDS * capacityOf(300)));
  const requests = draw(count);
  const predictedQps = capacityOf(count);
  const probes: KeptCapacity["probes"][number][] = [];
  for (const share of SHARES) {
    const rateQps = share * predictedQps;
    const run = await measureAndCompare(context, learnt, knobs, atRate(requests, rateQps), [], {
      folder: join(folder, "runs", `capacity-${scheduler}-${share}-${seed}`),
      seed: String(seed),
      phase: `${scheduler} at ${share}`,
    });
    probes.push({
      rateQps,
      predicted: pressure(run.figures, "predicted"),
      measured: pressure(run.figures, "measured"),
      stepBias: run.stepBias.now,
      before: run.machine.before?.all.ratio ?? null,
      doubts: runDoubts(run),
    });
  }
  const measuredQps = crossing(probes.map((p) => [p.rateQps, p.measured]));
  const nowQps = crossing(probes.map((p) => [p.rateQps, p.predicted]));
  const line: KeptCapacity = {
    schema: "millrace.capacity-run/1",
    scheduler,
    model: learnt.profile.model,
    machine: learnt.profile.machine,
    date: new Date().toISOString().slice(0, 10),
    seed,
    requests: count,
    slo: "ttft.p90<=2s,tbt.p99<=400ms",
    asProfiledQps: predictedQps,
    predictedQps: nowQps,
    measuredQps,
    probes,
  };
  appendFileSync(results, `${JSON.stringify(line)}\n`);
  report(`${scheduler}: predicted`, nowQps.qps, "requests/s");
  report(`${scheduler}: measured`, measuredQps.qps, "requests/s");
  // A bound is no measurement to compare with.
  if (nowQps.bound === null && measuredQps.bound === null)
    report(`${scheduler}: error`, 100 * Math.abs(nowQps.qps / measuredQps.qps - 1), "%", 5);
}

/** The worst of the promised figures over its limit. */
function pressure(figures: readonly ComparedFigure[], side: "predicted" | "measured"): number {
  return Math.max(
    ...promises.map(({ metric, quantile, limitSeconds }) => {
      const found = figures.find(({ figure }) => figure === `${metric}.p${100 * quantile}`);
      return (found?.[side] ?? 0) / limitSeconds;
    }),
  );
}

/** Where pressure crosses 1 between the rates, log-linear; beyond them it is the nearest rate, and said to be a bound. */
function crossing(points: readonly (readonly [number, number])[]): KeptCapacity["measuredQps"] {
  for (let i = points.length - 1; i > 0; i--) {
    const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]] as [[number, number], [number, number]];
    if (y0 <= 1 && y1 > 1) {
      const share = Math.log(1 / y0) / Math.log(y1 / y0);
      return { qps: x0 * (x1 / x0) ** share, bound: null };
    }
  }
  const kept = points.every(([, y]) => y <= 1);
  const [qps] = (kept ? points.at(-1) : points[0]) as readonly [number, number];
  return { qps, bound: kept ? "at least" : "at most" };
}
