/**
 * The search on the question of `npm start` (examples/llama3-70b.yaml): runs per configuration, configurations judged per
 * CPU second, CPU of the confirmation; in one process. Then the whole plan on two workers, wall time.
 */
import { readFileSync } from "node:fs";
import { InlineExecutor } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import { ForkPool } from "@millrace/core/node";
import { findDevice, findModel } from "@millrace/sim";
import { planSchema, resolvePlan, resolveWorkload } from "@millrace/sim/config";
import {
  createJobRunner,
  makeCost,
  plan,
  type SearchJob,
  type SearchOutcome,
  searchWorker,
} from "@millrace/sim/search";
import { report } from "./harness.ts";

const file = new URL("../examples/llama3-70b.yaml", import.meta.url).pathname;
const input = parseConfig(readFileSync(file, "utf8"), { file, schema: planSchema });
const context = { findModel, findDevice, longestRequest: 8192 };
if (input.workload === undefined) throw new Error(`${file} names no workload`);
const workload = { ...resolveWorkload(input.workload, (path) => path), maxTokens: 8192 };
const spec = resolvePlan(input, workload, context);

const cpu = { screening: 0, confirming: 0, other: 0 };
const runs = { screening: 0, confirming: 0, other: 0 };
const runJob = createJobRunner({ makeCost });
const inline = new InlineExecutor<SearchJob, SearchOutcome>(async (job) => {
  const phase =
    job.kind === "family" ? "screening" : job.workload.requests > 5000 ? "confirming" : "other";
  const before = process.cpuUsage();
  const outcome = await runJob(job);
  const spent = process.cpuUsage(before);
  cpu[phase] += (spent.user + spent.system) / 1e6;
  runs[phase] += outcome.work.simulations;
  return outcome;
});
const result = await plan(spec, { executor: inline });
report("configurations judged", result.judged, "");
report("runs per configuration, screening", runs.screening / result.judged, "");
report("configurations screened per CPU second", result.judged / cpu.screening, "/s");
report("CPU of screening", cpu.screening, "s");
report("runs of the confirmation", runs.confirming, "");
report("CPU of the confirmation", cpu.confirming, "s");
report("CPU of sensitivity, robustness, loads", cpu.other, "s");

await using pool = new ForkPool<SearchJob, SearchOutcome>({ module: searchWorker, workers: 2 });
const whole = await plan(spec, { executor: pool });
report("whole plan on two workers", whole.elapsedMs / 1000, "s", 60);
