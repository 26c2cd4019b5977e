/**
 * Capacity under an SLO of sarathi-serve, vllm-v0 and orca: predicted by the twin, and measured on the real engine. Both are
 * the highest rate at which one schedule of requests, stretched and squeezed, keeps the promises. The three servers are
 * loaded in turn, each at its predicted capacity first and then on the other side of where the worst promised figure over
 * its limit crosses 1, until two rates enclose that closely. Words: schedulers (default all). Takes eight to eleven minutes;
 * runs are kept as in `calibration`, and MILLRACE_SEED changes the schedule.
 */
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { usualKnobs } from "../packages/cli/src/calibration/candidates.ts";
import { compareCapacities } from "../packages/cli/src/calibration/capacity.ts";
import {
  capacityQuestion,
  comparedSchedulers,
} from "../packages/cli/src/calibration/reproduce-capacity.ts";
import { promised } from "../packages/cli/src/calibration/words.ts";
import { calibrated } from "./calibrated.ts";
import { type KeptCapacity, METHOD } from "./calibration-cases.ts";
import { report } from "./harness.ts";

const results =
  process.env.MILLRACE_RESULTS ??
  fileURLToPath(new URL("results/scheduler-capacity.jsonl", import.meta.url));
mkdirSync(dirname(results), { recursive: true });
const seed = Number(process.env.MILLRACE_SEED ?? 9100);
const wanted = process.argv.slice(2);
using calibration = await calibrated();
const { context, learnt, folder } = calibration;
const knobs = comparedSchedulers
  .filter((name) => wanted.length === 0 || wanted.includes(name))
  .map(usualKnobs);
const at = join(folder, "runs", `capacity-${seed}-${Date.now()}`);
for (const one of await compareCapacities(
  context,
  learnt,
  { knobs, ...capacityQuestion, seed },
  at,
)) {
  const line: KeptCapacity = {
    schema: "millrace.capacity-run/2",
    method: METHOD,
    ...one,
    model: learnt.profile.model,
    machine: learnt.profile.machine,
    date: new Date().toISOString().slice(0, 10),
    seed,
    slo: promised(capacityQuestion.slo),
  };
  appendFileSync(results, `${JSON.stringify(line)}\n`);
  const { scheduler, predictedQps, measuredQps } = one;
  report(`${scheduler}: predicted`, predictedQps, "requests/s");
  report(`${scheduler}: measured`, measuredQps.qps, "requests/s");
  // A bound is no measurement to compare with.
  if (measuredQps.bound === null)
    report(`${scheduler}: error`, 100 * Math.abs(predictedQps / measuredQps.qps - 1), "%", 5);
}
