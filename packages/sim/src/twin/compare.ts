/** Predicted beside measured, and where the difference comes from. */

import { quantileSorted } from "@millrace/core";
import type { ClientRequest, FluidityTargets, Quantiles, RunFigures } from "./figures.ts";
import { figuresOf } from "./figures.ts";

/**
 * A figure of both runs; predictions are medians over the twin's draws, with the lowest and highest of them. `error`:
 * predicted / measured - 1; null where either is missing or the measured one is 0.
 */
export interface ComparedFigure {
  readonly figure: string;
  readonly unit: "s" | "1/s" | "share" | "pages" | "count";
  readonly predicted: number | null;
  readonly predictedLow: number | null;
  readonly predictedHigh: number | null;
  readonly measured: number | null;
  readonly error: number | null;
  /** Samples of the measured figure. */
  readonly n: number;
}

/** Figures of a replica beside what clients saw. */
export interface ReplicaFigures {
  readonly kvPeakPages: number;
  readonly kvMeanPages: number;
  readonly preemptions: number;
  readonly steps: number;
}

export interface RunComparison {
  /** Of the twin's first draw. */
  readonly predicted: RunFigures;
  readonly measured: RunFigures;
  readonly figures: readonly ComparedFigure[];
  /** Per request, in the order of the table: predicted and measured seconds; requests without an answer are left out. */
  readonly pairs: {
    readonly ttft: readonly (readonly [number, number])[];
    readonly e2e: readonly (readonly [number, number])[];
    readonly tpot: readonly (readonly [number, number])[];
  };
  /** Median of |predicted / measured - 1| over requests. */
  readonly perRequest: { readonly ttft: number | null; readonly e2e: number | null };
}

const QUANTILES = ["p50", "p90", "p99"] as const;

/** A run as far as it is compared. */
export interface ComparedRun {
  readonly clients: readonly ClientRequest[];
  readonly replica: ReplicaFigures;
}

/** Lays the draws of a prediction beside a measured run of the same requests. At least one draw. */
export function compareRuns(
  predicted: readonly ComparedRun[],
  measured: ComparedRun,
  targets: FluidityTargets,
): RunComparison {
  const draws = predicted.map(({ clients }) => figuresOf(clients, targets));
  const m = figuresOf(measured.clients, targets);
  const rows = predicted.map(({ replica }, i) => rowsOf(draws[i] as RunFigures, replica));
  const figures = rowsOf(m, measured.replica).map(({ figure, unit, value, n }, row) => {
    const values = rows
      .map((draw) => draw[row]?.value ?? null)
      .filter((one) => one !== null)
      .sort((a, b) => a - b);
    const known = values.length === predicted.length;
    const typical = known ? quantileSorted(Float64Array.from(values), 0.5) : null;
    return {
      figure,
      unit,
      predicted: typical,
      predictedLow: known ? (values[0] as number) : null,
      predictedHigh: known ? (values.at(-1) as number) : null,
      measured: value,
      error: typical === null || value === null || value === 0 ? null : typical / value - 1,
      n,
    };
  });
  const pairs = pairsOf(
    predicted.map(({ clients }) => clients),
    measured.clients,
  );
  return {
    predicted: draws[0] as RunFigures,
    measured: m,
    figures,
    pairs,
    perRequest: { ttft: medianError(pairs.ttft), e2e: medianError(pairs.e2e) },
  };
}

interface Row {
  readonly figure: string;
  readonly unit: ComparedFigure["unit"];
  readonly value: number | null;
  readonly n: number;
}

function rowsOf(run: RunFigures, replica: ReplicaFigures): readonly Row[] {
  const { completed, requests, fluidity } = run;
  const { steps } = replica;
  return [
    ...(["ttft", "tbt", "e2e"] as const).flatMap((metric) =>
      QUANTILES.map((q): Row => {
        const of: Quantiles = run[metric];
        return { figure: `${metric}.${q}`, unit: "s", value: of[q], n: of.n };
      }),
    ),
    { figure: "requestsPerSecond", unit: "1/s", value: run.requestsPerSecond, n: completed },
    {
      figure: "outputTokensPerSecond",
      unit: "1/s",
      value: run.outputTokensPerSecond,
      n: completed,
    },
    { figure: "fluidity.index", unit: "share", value: fluidity.index, n: requests },
    { figure: "fluidity.shareAbove90", unit: "share", value: fluidity.shareAbove90, n: requests },
    { figure: "kv.peakPages", unit: "pages", value: replica.kvPeakPages, n: steps },
    { figure: "kv.meanPages", unit: "pages", value: replica.kvMeanPages, n: steps },
    { figure: "preemptions", unit: "count", value: replica.preemptions, n: steps },
    { figure: "steps", unit: "count", value: steps, n: steps },
  ];
}

/** Of each request the median prediction over the draws. */
function pairsOf(
  draws: readonly (readonly ClientRequest[])[],
  measured: readonly ClientRequest[],
): RunComparison["pairs"] {
  const ttft: [number, number][] = [];
  const e2e: [number, number][] = [];
  const tpot: [number, number][] = [];
  const first = (r: ClientRequest): number => (r.tokenAt[0] as number) - r.arrivedAt;
  const last = (r: ClientRequest): number => (r.tokenAt.at(-1) as number) - r.arrivedAt;
  const each = (r: ClientRequest): number => (last(r) - first(r)) / (r.tokenAt.length - 1);
  measured.forEach((b, i) => {
    const all = draws.map((draw) => draw[i] as ClientRequest);
    const tokens = Math.min(b.tokenAt.length, ...all.map((a) => a.tokenAt.length));
    if (tokens === 0) return;
    const typical = (of: (r: ClientRequest) => number): number =>
      quantileSorted(Float64Array.from(all, of).sort(), 0.5);
    ttft.push([typical(first), first(b)]);
    e2e.push([typical(last), last(b)]);
    if (tokens > 1) tpot.push([typical(each), each(b)]);
  });
  return { ttft, e2e, tpot };
}

function medianError(pairs: readonly (readonly [number, number])[]): number | null {
  if (pairs.length === 0) return null;
  return quantileSorted(Float64Array.from(pairs, ([a, b]) => Math.abs(a / b - 1)).sort(), 0.5);
}
