/**
 * What a profile is worth that was fitted to nothing but the token times of clients: our own server as a stranger, beside the
 * truth of its timing log. Uses the runs that `calibration` has kept under MILLRACE_CALIBRATION: a profile is fitted to one
 * run each and predicts all runs of other cases. Reports errors of step-time sums and of latencies, and how many of the sums
 * lie within the uncertainty that the profile states.
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
const runs = readdirSync(join(folder, "runs"))
  .sort()
  .flatMap((name): Run[] => {
    const file = (of: string): string => join(folder, "runs", name, of);
    // vLLM's scheduler and models of other geometry have other steps: one server is one stranger.
    if (!existsSync(file("streams.jsonl")) || /learn|vllm|orca|geometry|capacity/.test(name))
      return [];
    const streams = readFileSync(file("streams.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as ObservedStream);
    const lines = parseDecisions(readFileSync(file("decisions.jsonl"), "utf8"), name);
    const from = Math.min(...streams.map(({ startedAt }) => startedAt));
    const to = Math.max(...streams.map(({ tokenAt }) => tokenAt.at(-1) as number));
    const steps = parseStepTimings(readFileSync(file("timings.jsonl"), "utf8"), name).filter(
      (step) => step.at >= from && step.at <= to && Number.isFinite(step.periodSeconds),
    );
    const head = lines[0] as DecisionHead;
    const scheduler = lines.find((line) => line.kind === "scheduler");
    if (scheduler === undefined) return [];
    const { kv, tableCapacity, maxRequestTokens, maxWaiting } = head;
    const settings: TwinSettings = {
      scheduler: scheduler.settings,
      ...{ kv, tableCapacity, maxRequestTokens, maxWaiting },
    };
    return [{ name, streams, steps, settings }];
  });
const caseOf = ({ name }: Run): string => name.replace(/-\d+(-\d+)?$/, "");

const mixOf = (run: Run): string => caseOf(run).split("-")[0] as string;

/** What profiles of one run say of others. */
class Tally {
  readonly sums: number[] = [];
  readonly latencies = new Map<string, number[]>();
  within = 0;

  add(fit: BlackBoxFit, cost: ProfileCost, other: Run): void {
    const measured = other.steps.reduce((sum, step) => sum + step.periodSeconds, 0);
    const predicted = other.steps.reduce((sum, step) => sum + cost.computeSeconds(step), 0);
    const off = Math.abs(predicted / measured - 1);
    this.sums.push(off);
    if (off <= fit.uncertainty) this.within++;
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
    report(`${what}: sums within the uncertainty stated`, (100 * within) / sums.length, "%");
    for (const [name, errors] of latencies)
      report(`${what}: ${name}, error p50`, 100 * at(errors, 0.5), "%");
  }
}

const load = new Tally();
const mix = new Tally();
const uncertainties: number[] = [];
for (const seen of runs) {
  let fit: BlackBoxFit;
  try {
    fit = fitBlackBox(seen.streams, { model: "?", machine: "?", date: "2026-01-01" });
  } catch {
    // Too few steps in a row: a run at light load.
    continue;
  }
  uncertainties.push(fit.uncertainty);
  const cost = new ProfileCost(fit.profile);
  for (const other of runs)
    if (caseOf(other) !== caseOf(seen))
      (mixOf(other) === mixOf(seen) ? load : mix).add(fit, cost, other);
}
report("runs that a profile could be fitted to", uncertainties.length, "");
report("runs with too few steps in a row", runs.length - uncertainties.length, "");
report("uncertainty stated, p50", 100 * at(uncertainties, 0.5), "%");
load.tell("another load");
mix.tell("another mix");

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
