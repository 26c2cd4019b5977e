/** Two runs side by side: each figure, the difference, and how sure it is (bootstrap over requests). */
import { quantileSorted, Rng } from "@millrace/core";
import type { BenchReport, RequestRecord, RunData } from "../contracts.ts";
import { requestFluidity } from "../metrics/fluidity.ts";
import { type SummaryOptions, summarizeRun } from "../metrics/summary.ts";
import { tokenGaps } from "../metrics/token-streams.ts";

export const COMPARE_SCHEMA = "millrace.bench-compare/1";

/** A figure of both runs. */
export interface ComparedFigure {
  readonly name: string;
  readonly unit: "ms" | "share" | "per-second";
  /** Which way is better. */
  readonly better: "lower" | "higher";
  readonly a: number;
  readonly b: number;
  /** b - a with its 95 % interval. */
  readonly difference: { readonly value: number; readonly low: number; readonly high: number };
  /** b is better or worse beyond doubt, or neither can be said. */
  readonly verdict: "better" | "worse" | "unclear";
}

export interface Comparison {
  readonly schema: typeof COMPARE_SCHEMA;
  readonly a: BenchReport;
  readonly b: BenchReport;
  readonly figures: readonly ComparedFigure[];
  /** Why the two are not the same experiment; empty when they are. */
  readonly caveats: readonly string[];
  readonly resamples: number;
  readonly seed: number;
}

export interface CompareOptions extends SummaryOptions {
  /** Default 1000. */
  readonly resamples?: number;
  /** Default 1. */
  readonly seed?: number;
}

/** What one request adds to the figures, computed once. */
interface Unit {
  readonly ttft: number;
  readonly e2e: number;
  readonly longestGap: number;
  readonly tpot: number;
  readonly met: number;
  readonly missed: number;
  readonly ok: boolean;
}

interface FigureOf {
  readonly name: string;
  readonly unit: ComparedFigure["unit"];
  readonly better: ComparedFigure["better"];
  readonly of: (units: readonly Unit[]) => number;
}

const quantile =
  (key: "ttft" | "e2e" | "longestGap" | "tpot", q: number) =>
  (units: readonly Unit[]): number => {
    const values = Float64Array.from(units, (unit) => unit[key])
      .filter((v) => !Number.isNaN(v))
      .sort();
    return quantileSorted(values, q) / 1e3;
  };

const sum = (units: readonly Unit[], of: (unit: Unit) => number): number =>
  units.reduce((total, unit) => total + of(unit), 0);

const figures: readonly FigureOf[] = [
  ...([0.5, 0.9, 0.99] as const).map((q) => latency("TTFT", "ttft", q)),
  ...([0.5, 0.9, 0.99] as const).map((q) => latency("longest gap of a request", "longestGap", q)),
  ...([0.5, 0.99] as const).map((q) => latency("TPOT", "tpot", q)),
  ...([0.5, 0.99] as const).map((q) => latency("end to end", "e2e", q)),
  {
    ...{ name: "fluidity-index", unit: "share", better: "higher" },
    of: (units) => sum(units, (u) => u.met) / sum(units, (u) => u.met + u.missed),
  },
  {
    ...{ name: "requests at fluidity 0.9", unit: "share", better: "higher" },
    of: (units) => sum(units, (u) => (u.met >= 0.9 * (u.met + u.missed) ? 1 : 0)) / units.length,
  },
  {
    ...{ name: "answered", unit: "share", better: "higher" },
    of: (units) => sum(units, (u) => (u.ok ? 1 : 0)) / units.length,
  },
];

function latency(name: string, key: Parameters<typeof quantile>[0], q: number): FigureOf {
  return { name: `${name} p${q * 100}`, unit: "ms", better: "lower", of: quantile(key, q) };
}

/** Compares. O(resamples × requests). Throws like summarizeRun. */
export function compareRuns(a: RunData, b: RunData, options: CompareOptions): Comparison {
  const { resamples = 1000, seed = 1 } = options;
  const [left, right] = [summarizeRun(a, options), summarizeRun(b, options)];
  const [unitsA, unitsB] = [unitsOf(a, options), unitsOf(b, options)];
  const rng = new Rng(seed);
  const draws = figures.map(() => new Float64Array(resamples));
  for (let i = 0; i < resamples; i++) {
    const [drawnA, drawnB] = [resample(unitsA, rng), resample(unitsB, rng)];
    figures.forEach(({ of }, k) => {
      (draws[k] as Float64Array)[i] = of(drawnB) - of(drawnA);
    });
  }
  return {
    schema: COMPARE_SCHEMA,
    a: left,
    b: right,
    figures: figures.map((figure, k) => compared(figure, unitsA, unitsB, draws[k] as Float64Array)),
    caveats: caveats(left, right),
    ...{ resamples, seed },
  };
}

function compared(
  { name, unit, better, of }: FigureOf,
  unitsA: readonly Unit[],
  unitsB: readonly Unit[],
  draws: Float64Array,
): ComparedFigure {
  const sorted = draws.filter((v) => !Number.isNaN(v)).sort();
  const [low, high] = [quantileSorted(sorted, 0.025), quantileSorted(sorted, 0.975)];
  const [a, b] = [of(unitsA), of(unitsB)];
  const up = low > 0;
  const down = high < 0;
  const verdict = !up && !down ? "unclear" : up === (better === "higher") ? "better" : "worse";
  return { name, unit, better, a, b, difference: { value: b - a, low, high }, verdict };
}

function unitsOf(run: RunData, { targets, compat }: SummaryOptions): readonly Unit[] {
  return run.records
    .filter(({ warmup }) => !warmup)
    .map((record) => unitOf(record, { targets, arithmetic: compat ?? "exact" }));
}

function unitOf(record: RequestRecord, options: Parameters<typeof requestFluidity>[1]): Unit {
  const { status, scheduledUs, firstTokenUs, lastTokenUs, tokens, askedChoices } = record;
  const ok = status === "ok" && firstTokenUs >= 0;
  const no = Number.NaN;
  const { met, missed } = requestFluidity(record, options);
  const after = tokens / askedChoices - 1;
  let longest = no;
  if (ok && after > 0) {
    longest = 0;
    for (const gaps of tokenGaps(record, scheduledUs))
      for (let i = 1; i < gaps.length; i++) longest = Math.max(longest, gaps[i] as number);
  }
  return {
    ttft: ok ? firstTokenUs - scheduledUs : no,
    e2e: ok ? lastTokenUs - scheduledUs : no,
    tpot: ok && after > 0 ? (lastTokenUs - firstTokenUs) / after : no,
    longestGap: longest,
    ...{ met, missed, ok },
  };
}

function resample(units: readonly Unit[], rng: Rng): readonly Unit[] {
  return units.map(() => units[Math.floor(rng.next() * units.length)] as Unit);
}

function caveats(a: BenchReport, b: BenchReport): readonly string[] {
  const found: string[] = [];
  for (const [name, { verdict }] of [
    ["A", a],
    ["B", b],
  ] as const)
    if (verdict === "INVALID") found.push(`Run ${name} is INVALID: its client was at fault.`);
  if (JSON.stringify(a.load) !== JSON.stringify(b.load) || a.seed !== b.seed)
    found.push("The two runs had different loads or seeds: differences may be theirs.");
  if (a.endpoint.model !== b.endpoint.model)
    found.push(`The models differ: ${a.endpoint.model} and ${b.endpoint.model}.`);
  return found;
}
