/**
 * What a profile is worth that was fitted to nothing but the token times of clients: our own server as a stranger, beside the
 * truth of its timing log. Uses the runs that `calibration` has kept under MILLRACE_CALIBRATION: profiles are fitted to one
 * run or two and predict all runs of other cases. Reports errors of step-time sums and of latencies, and how many of the
 * sums lie within the uncertainty that the profile states, which should be nine in ten.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { quantileSorted } from "@millrace/core";
import {
  type BlackBoxFit,
  type DecisionHead,
  fitBlackBox,
  type ObservedStream,
  ProfileCost,
  parseDecisions,
  parseStepTimings,
  type RequestTable,
  type StepTimed,
} from "@millrace/serving";
import { predictRun, quantilesOf, type TwinSettings } from "@millrace/sim/twin";
import { report } from "./harness.ts";

interface Run {
  readonly name: string;
  readonly streams: readonly ObservedStream[];
  readonly steps: readonly StepTimed[];
  readonly settings: TwinSettings;
}

const folder = process.env.MILLRACE_CALIBRATION;
if (folder === undefined || !existsSync(join(folder, "runs")))
  throw new Error("set MILLRACE_CALIBRATION to the folder of `calibration`, and run that first");
const STREAMS = ".streams.jsonl";
const runs = readdirSync(join(folder, "runs"))
  .sort()
  // vLLM's scheduler and models of other geometry have other steps: one server is one stranger.
  .filter((server) => /^sarathi-serve-\d/.test(server))
  .flatMap((server): readonly Run[] => {
    const at = join(folder, "runs", server);
    const names = readdirSync(at).filter((file) => file.endsWith(STREAMS));
    return names.flatMap((file) => runOf(at, file));
  });

function runOf(at: string, file: string): readonly Run[] {
  const name = file.slice(0, -STREAMS.length);
  const streams = readFileSync(join(at, file), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as ObservedStream);
  const lines = parseDecisions(readFileSync(join(at, "decisions.jsonl"), "utf8"), name);
  const from = Math.min(...streams.map(({ startedAt }) => startedAt));
  const to = Math.max(...streams.map(({ tokenAt }) => tokenAt.at(-1) as number));
  const steps = parseStepTimings(readFileSync(join(at, "timings.jsonl"), "utf8"), name)
    .filter((step) => step.at >= from && step.at <= to)
    // As the fit sees them: pairs of all chunks count alike.
    .map((step) => ({ ...step, tilePairs: step.prefillPairs, shortPairs: 0 }));
  const head = lines[0] as DecisionHead;
  const scheduler = lines.find((line) => line.kind === "scheduler");
  if (scheduler === undefined) return [];
  const { kv, tableCapacity, maxRequestTokens, maxWaiting } = head;
  const settings: TwinSettings = {
    scheduler: scheduler.settings,
    ...{ kv, tableCapacity, maxRequestTokens, maxWaiting },
  };
  return [{ name, streams, steps, settings }];
}

const mixOf = ({ name }: Run): string => name.split("-")[0] as string;

/** What profiles of one run say of others. */
class Tally {
  readonly sums: number[] = [];
  readonly stated: number[] = [];
  readonly latencies = new Map<string, number[]>();
  within = 0;

  /** `stated`: by how much the fit says that the sum may be off, either way. */
  add(cost: ProfileCost, stated: number, other: Run): void {
    const measured = other.steps.reduce((sum, step) => sum + step.periodSeconds, 0);
    const predicted = other.steps.reduce((sum, step) => sum + cost.computeSeconds(step), 0);
    this.sums.push(Math.abs(predicted / measured - 1));
    this.stated.push(stated);
    if (Math.abs(Math.log(predicted / measured)) <= Math.log(1 + stated)) this.within++;
    for (const [name, error] of latencyErrors(cost, other)) {
      const known = this.latencies.get(name);
      if (known === undefined) this.latencies.set(name, [error]);
      else known.push(error);
    }
  }

  tell(what: string): void {
    const { sums, within, latencies } = this;
    if (sums.length === 0) return;
    report(`${what}: predictions`, sums.length, "");
    report(`${what}: sum of step times, error p50`, 100 * at(sums, 0.5), "%");
    report(`${what}: sum of step times, error p90`, 100 * at(sums, 0.9), "%");
    report(`${what}: uncertainty stated, p50`, 100 * at(this.stated, 0.5), "%");
    report(`${what}: sums within the uncertainty stated, of 90`, (100 * within) / sums.length, "%");
    for (const [name, errors] of latencies)
      report(`${what}: ${name}, error p50`, 100 * at(errors, 0.5), "%");
  }
}

const about = { model: "?", machine: "?", date: "2026-01-01" };
const [load, mix, two, three] = [new Tally(), new Tally(), new Tally(), new Tally()];

/** The fit to some runs; null where they hold too few steps in a row, as at light load. */
function fitted(seen: readonly Run[]): (BlackBoxFit & { readonly cost: ProfileCost }) | null {
  try {
    const fit = fitBlackBox(
      seen.map(({ streams }) => streams),
      about,
    );
    return { ...fit, cost: new ProfileCost(fit.profile) };
  } catch {
    return null;
  }
}

let fits = 0;
for (const seen of runs) {
  const fit = fitted([seen]);
  if (fit === null) continue;
  fits++;
  for (const other of runs) {
    if (other.name === seen.name) continue;
    if (mixOf(other) === mixOf(seen)) load.add(fit.cost, fit.uncertainty, other);
    else mix.add(fit.cost, fit.uncertaintyBeyond, other);
  }
}
report("runs that a profile could be fitted to", fits, "");
report("runs with too few steps in a row", runs.length - fits, "");
// Two loads of one mix, and one load each of two mixes.
for (const [i, a] of runs.entries())
  for (const b of runs.slice(i + 1)) {
    if (a.name === b.name) continue;
    const fit = fitted([a, b]);
    if (fit === null) continue;
    for (const other of runs) {
      if (other.name === a.name || other.name === b.name) continue;
      if (mixOf(a) === mixOf(b) && mixOf(other) === mixOf(a))
        two.add(fit.cost, fit.uncertainty, other);
      else if (mixOf(a) !== mixOf(b) && mixOf(other) !== mixOf(a) && mixOf(other) !== mixOf(b))
        three.add(fit.cost, fit.uncertaintyBeyond, other);
    }
  }
load.tell("another load");
two.tell("a third load from two");
mix.tell("another mix");
three.tell("a third mix from two");

function at(values: readonly number[], q: number): number {
  return quantileSorted(Float64Array.from(values).sort(), q);
}

/** Absolute relative errors of medians and 90th percentiles, scheduler and KV cache as the server's. */
function latencyErrors(cost: ProfileCost, { streams, settings }: Run): readonly [string, number][] {
  const sorted = [...streams].sort((a, b) => a.startedAt - b.startedAt);
  const from = (sorted[0] as ObservedStream).startedAt;
  const requests: RequestTable = {
    count: sorted.length,
    arrivedAt: Float64Array.from(sorted, ({ startedAt }) => startedAt - from),
    promptTokens: Int32Array.from(sorted, ({ promptTokens }) => promptTokens),
    outputTokens: Int32Array.from(sorted, ({ tokenAt }) => tokenAt.length),
    classIndex: new Uint8Array(sorted.length),
    classes: [{ name: "default", priority: 0 }],
    ids: null,
  };
  const { clients } = predictRun(settings, requests, { cost, transport: null });
  const latency = (
    all: readonly { readonly from: number; readonly tokenAt: readonly number[] }[],
  ) => ({
    ttft: quantilesOf(all.map((r) => (r.tokenAt[0] as number) - r.from)),
    tbt: quantilesOf(
      all.flatMap(({ tokenAt }) => tokenAt.slice(1).map((t, i) => t - (tokenAt[i] as number))),
    ),
    e2e: quantilesOf(all.map((r) => (r.tokenAt.at(-1) as number) - r.from)),
  });
  const p = latency(clients.map(({ arrivedAt, tokenAt }) => ({ from: arrivedAt, tokenAt })));
  const m = latency(sorted.map(({ startedAt, tokenAt }) => ({ from: startedAt, tokenAt })));
  return (["ttft", "tbt", "e2e"] as const).flatMap((metric) =>
    (["p50", "p90"] as const).flatMap((q): [string, number][] => {
      const [a, b] = [p[metric][q], m[metric][q]];
      return a === null || b === null ? [] : [[`${metric}.${q}`, Math.abs(a / b - 1)]];
    }),
  );
}
