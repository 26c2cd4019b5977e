/**
 * How well this machine's serving is predicted, on loads that nothing was fitted to: other mixes, loads and schedulers than
 * the load that the serving loop is learnt from. One run of each case, 24 seconds of load each; words are names of cases
 * (default all). Every run is appended to the file that MILLRACE_RESULTS names, or to bench/results/calibration.jsonl, so
 * that runs of many quiet moments add up; `tsx tools/calibration-table.ts` writes the table from it. MILLRACE_CALIBRATION=
 * FOLDER keeps the profile between processes, MILLRACE_SEED changes the seed. All take about ten minutes, a profile three.
 */
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { saturationQps } from "@millrace/sim/twin";
import { usualKnobs } from "../packages/cli/src/calibration/candidates.ts";
import { runDoubts } from "../packages/cli/src/calibration/doubts.ts";
import { measureAndCompare } from "../packages/cli/src/calibration/measure.ts";
import type { CalibratedRun } from "../packages/cli/src/calibration/result.ts";
import { userWorkload, withOverhead } from "../packages/cli/src/calibration/workloads.ts";
import { calibrated, carriedOver } from "./calibrated.ts";
import {
  type CalibrationCase,
  calibrationCases,
  type KeptRun,
  METHOD,
} from "./calibration-cases.ts";
import { report } from "./harness.ts";

const SECONDS = 24;
/** Runs of a case are repeats: the same arrivals, so that they differ by the machine alone. Other seeds are for development. */
const HELD_OUT_SEED = 9002;

const results =
  process.env.MILLRACE_RESULTS ??
  fileURLToPath(new URL("results/calibration.jsonl", import.meta.url));
mkdirSync(dirname(results), { recursive: true });
const seed = Number(process.env.MILLRACE_SEED ?? HELD_OUT_SEED);

const wanted = process.argv.slice(2);
using calibration = await calibrated();
const { folder } = calibration;
const small = (pairs: readonly (readonly [number, number])[]) =>
  pairs.map(([p, m]) => [Math.round(1e5 * p), Math.round(1e5 * m)] as const);
// Cases of one scheduler and model follow each other on one server.
const servers = new Map<string, CalibrationCase[]>();
for (const one of calibrationCases) {
  if (wanted.length > 0 && !wanted.includes(one.name)) continue;
  const server = `${one.scheduler}${one.model === undefined ? "" : `-${one.model.preset}`}`;
  const others = servers.get(server);
  if (others === undefined) servers.set(server, [one]);
  else others.push(one);
}
for (const [server, cases] of servers) {
  const [{ scheduler, model }] = cases as [CalibrationCase, ...CalibrationCase[]];
  const served = model === undefined ? calibration : await carriedOver(calibration, model);
  const { context, learnt, cost, addedTokens } = served;
  const knobs = usualKnobs(scheduler);
  const settings = served.settings(knobs);
  const longest = settings.maxRequestTokens - addedTokens;
  const loads = cases.map(({ name, lengths, load }) => {
    const shape = withOverhead(userWorkload(lengths, 500, 1, seed + 500, longest), addedTokens);
    const rateQps = load * saturationQps(settings, shape, cost);
    const requests = userWorkload(lengths, Math.ceil(SECONDS * rateQps), rateQps, seed, longest);
    const streams = `${name.replaceAll(/[ ,%]+/g, "-")}.streams.jsonl`;
    return { rateQps, requests, seed: String(seed), phase: name, streams };
  });
  const at = join(folder, "runs", `${server}-${seed}-${Date.now()}`);
  const runs = await measureAndCompare(context, learnt, knobs, loads, [], at);
  const { model: name, machine } = learnt.profile;
  runs.forEach((run, i) => {
    const { rateQps, requests } = loads[i] as (typeof loads)[number];
    const about = { model: name, machine, rateQps, requests: requests.count };
    keep(cases[i] as CalibrationCase, run, about);
  });
}

/** Appends a run to the results and prints its figures. */
function keep(
  { name, load }: CalibrationCase,
  run: CalibratedRun,
  of: Pick<KeptRun, "model" | "machine" | "rateQps" | "requests">,
): void {
  const line: KeptRun = {
    schema: "millrace.calibration-run/1",
    case: name,
    method: METHOD,
    ...of,
    date: new Date().toISOString().slice(0, 10),
    load,
    seed,
    stepBias: run.stepBias,
    foreignCores: run.machine.foreignCores,
    stolenCores: run.machine.stolenCores,
    before: run.machine.before?.all.ratio ?? null,
    after: run.machine.after?.all.ratio ?? null,
    doubts: runDoubts(run),
    decisionsEqual: run.replay.difference === null,
    figures: run.figures,
    ttft: small(run.pairs.ttft),
    e2e: small(run.pairs.e2e),
  };
  appendFileSync(results, `${JSON.stringify(line)}\n`);
  const percent = (what: string, error: number | null, bar?: number): void => {
    if (error !== null) report(`${name}: ${what}`, 100 * error, "%", bar);
  };
  percent("step-time bias", run.stepBias.now, 1);
  percent("step-time bias at the profile's speed", run.stepBias.asProfiled);
  for (const { figure, error } of run.figures)
    if (/^(ttft|tbt|e2e)\./.test(figure)) percent(`${figure} error`, error, 9);
  report(`${name}: other programs`, line.foreignCores ?? Number.NaN, "cores");
  percent("machine before", line.before === null ? null : line.before - 1);
  percent("machine after", line.after === null ? null : line.after - 1);
  if (!line.decisionsEqual) throw new Error(`${name}: decisions differ`);
}
