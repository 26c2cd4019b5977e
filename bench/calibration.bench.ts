/**
 * How well this machine's serving is predicted, on loads that nothing was fitted to: other mixes, loads and schedulers than
 * the load that the serving loop is learnt from. Prints the errors of one run of each case; medians over processes are the
 * runner's. Words: names of cases (default all). MILLRACE_CALIBRATION=FOLDER keeps the profile between processes and
 * every result as JSON. One process takes about eight minutes for all cases on two cores.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LengthSpec, SchedulerName } from "@millrace/serving";
import { saturationQps } from "@millrace/sim/twin";
import { measureAndCompare } from "../packages/cli/src/calibration/pipeline.ts";
import { userWorkload, withOverhead } from "../packages/cli/src/calibration/workloads.ts";
import { calibrated, usualKnobs } from "./calibrated.ts";
import { report } from "./harness.ts";

interface Case {
  readonly name: string;
  readonly lengths: LengthSpec;
  readonly scheduler: SchedulerName;
  /** Share of the predicted rate at saturation. */
  readonly load: number;
  readonly requests: number;
}

const range = (
  prompt: readonly [number, number],
  output: readonly [number, number],
): LengthSpec => ({
  type: "range",
  prompt: { min: prompt[0], max: prompt[1] },
  output: { min: output[0], max: output[1] },
});
const brief = range([8, 48], [3, 10]);
const chatty = range([4, 16], [16, 40]);
const wordy = range([96, 224], [2, 6]);

const cases: readonly Case[] = [
  { name: "brief at 20 %", lengths: brief, scheduler: "sarathi-serve", load: 0.2, requests: 250 },
  { name: "brief at 50 %", lengths: brief, scheduler: "sarathi-serve", load: 0.5, requests: 700 },
  { name: "brief at 70 %", lengths: brief, scheduler: "sarathi-serve", load: 0.7, requests: 1000 },
  { name: "brief at 85 %", lengths: brief, scheduler: "sarathi-serve", load: 0.85, requests: 1000 },
  { name: "brief at 95 %", lengths: brief, scheduler: "sarathi-serve", load: 0.95, requests: 1000 },
  { name: "chatty at 60 %", lengths: chatty, scheduler: "sarathi-serve", load: 0.6, requests: 500 },
  { name: "wordy at 70 %", lengths: wordy, scheduler: "sarathi-serve", load: 0.7, requests: 300 },
  {
    name: "brief at 70 %, vllm-v0",
    lengths: brief,
    scheduler: "vllm-v0",
    load: 0.7,
    requests: 1000,
  },
  { name: "brief at 70 %, orca", lengths: brief, scheduler: "orca", load: 0.7, requests: 1000 },
];

const wanted = process.argv.slice(2);
using calibration = await calibrated();
const { folder, kept, context, learnt, cost } = calibration;
const { overheadTokens } = learnt;
const seed = Number(process.env.MILLRACE_SEED ?? 1000 + (process.pid % 1000));
for (const { name, lengths, scheduler, load, requests } of cases) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const knobs = usualKnobs(scheduler);
  const settings = calibration.settings(knobs);
  const shape = userWorkload(lengths, 500, 1, seed + 1, settings.maxRequestTokens - overheadTokens);
  const most = saturationQps(settings, withOverhead(shape, overheadTokens), cost);
  const rate = load * most;
  const table = userWorkload(
    lengths,
    requests,
    rate,
    seed,
    settings.maxRequestTokens - overheadTokens,
  );
  const run = await measureAndCompare(context, learnt, knobs, table, [], 0);
  const bias = run.residuals.find(({ by }) => by === "all")?.bias ?? Number.NaN;
  const { foreignCores, stolenCores, drift } = run.machine;
  if (kept)
    writeFileSync(
      join(folder, `${name.replaceAll(/[ ,%]+/g, "-")}-${seed}-${Date.now()}.json`),
      JSON.stringify({ name, scheduler, load, rate, seed, bias, ...run, pairs: undefined }),
    );
  const percent = (what: string, error: number | null | undefined, bar?: number): void => {
    if (error !== null && error !== undefined) report(`${name}: ${what}`, 100 * error, "%", bar);
  };
  percent("step-time bias", bias, 1);
  for (const { figure, error } of run.figures)
    if (/^(ttft|tbt|e2e)\./.test(figure)) percent(`${figure} error`, error, 9);
  report(`${name}: other programs`, foreignCores ?? Number.NaN, "cores");
  report(`${name}: hypervisor`, stolenCores ?? Number.NaN, "cores");
  percent("machine drift", drift - 1);
  if (run.replay.difference !== null) throw new Error(`${name}: decisions differ`);
}
