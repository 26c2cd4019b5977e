/** Predicted beside measured, and where the difference comes from. */

import { quantileSorted } from "@millrace/core";
import type { ClientRequest, FluidityTargets, Quantiles, RunFigures } from "./figures.ts";
import { figuresOf } from "./figures.ts";

/** A figure of both runs. `error`: predicted / measured - 1; null where either is missing or the measured one is 0. */
export interface ComparedFigure {
  readonly figure: string;
  readonly unit: "s" | "1/s" | "share" | "pages" | "count";
  readonly predicted: number | null;
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

/** Lays two runs of the same requests side by side. */
export function compareRuns(
  predicted: readonly ClientRequest[],
  measured: readonly ClientRequest[],
  replicas: { readonly predicted: ReplicaFigures; readonly measured: ReplicaFigures },
  targets: FluidityTargets,
): RunComparison {
  const p = figuresOf(predicted, targets);
  const m = figuresOf(measured, targets);
  const figures: ComparedFigure[] = [];
  const add = (
    figure: string,
    unit: ComparedFigure["unit"],
    a: number | null,
    b: number | null,
    n: number,
  ): void => {
    const known = a !== null && b !== null && b !== 0;
    figures.push({ figure, unit, predicted: a, measured: b, error: known ? a / b - 1 : null, n });
  };
  for (const metric of ["ttft", "tbt", "e2e"] as const)
    for (const q of QUANTILES) {
      const both: [Quantiles, Quantiles] = [p[metric], m[metric]];
      add(`${metric}.${q}`, "s", both[0][q], both[1][q], both[1].n);
    }
  add("requestsPerSecond", "1/s", p.requestsPerSecond, m.requestsPerSecond, m.completed);
  add(
    "outputTokensPerSecond",
    "1/s",
    p.outputTokensPerSecond,
    m.outputTokensPerSecond,
    m.completed,
  );
  add("fluidity.index", "share", p.fluidity.index, m.fluidity.index, m.requests);
  add(
    "fluidity.shareAbove90",
    "share",
    p.fluidity.shareAbove90,
    m.fluidity.shareAbove90,
    m.requests,
  );
  const pages = (of: "predicted" | "measured"): ReplicaFigures => replicas[of];
  const steps = pages("measured").steps;
  add(
    "kv.peakPages",
    "pages",
    pages("predicted").kvPeakPages,
    pages("measured").kvPeakPages,
    steps,
  );
  add(
    "kv.meanPages",
    "pages",
    pages("predicted").kvMeanPages,
    pages("measured").kvMeanPages,
    steps,
  );
  add("preemptions", "count", pages("predicted").preemptions, pages("measured").preemptions, steps);
  add("steps", "count", pages("predicted").steps, steps, steps);
  const pairs = pairsOf(predicted, measured);
  return {
    predicted: p,
    measured: m,
    figures,
    pairs,
    perRequest: { ttft: medianError(pairs.ttft), e2e: medianError(pairs.e2e) },
  };
}

function pairsOf(
  predicted: readonly ClientRequest[],
  measured: readonly ClientRequest[],
): RunComparison["pairs"] {
  const ttft: [number, number][] = [];
  const e2e: [number, number][] = [];
  const tpot: [number, number][] = [];
  predicted.forEach((a, i) => {
    const b = measured[i];
    if (b === undefined || a.tokenAt.length === 0 || b.tokenAt.length === 0) return;
    const first = (r: ClientRequest): number => (r.tokenAt[0] as number) - r.arrivedAt;
    const last = (r: ClientRequest): number => (r.tokenAt.at(-1) as number) - r.arrivedAt;
    ttft.push([first(a), first(b)]);
    e2e.push([last(a), last(b)]);
    if (a.tokenAt.length < 2 || b.tokenAt.length < 2) return;
    const each = (r: ClientRequest): number => (last(r) - first(r)) / (r.tokenAt.length - 1);
    tpot.push([each(a), each(b)]);
  });
  return { ttft, e2e, tpot };
}

function medianError(pairs: readonly (readonly [number, number])[]): number | null {
  if (pairs.length === 0) return null;
  return quantileSorted(Float64Array.from(pairs, ([a, b]) => Math.abs(a / b - 1)).sort(), 0.5);
}
