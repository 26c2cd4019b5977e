/**
 * Workload shapes: what is kept of a measured workload so that requests like it can be drawn without shipping it. Two
 * length distributions and their dependence as a copula over ranks: the Gaussian one of the rank correlation, or a small
 * table of how often a prompt of rank i came with an output of rank j.
 */
import { invariant, kolmogorovSmirnov, Rng, spearman } from "@millrace/core";
import { fitLengths, type LengthDistribution, LengthInverse } from "./length-distribution.ts";
import type { LengthSource } from "./lengths.ts";

/** Plain data; lengths in tokens. */
export interface WorkloadShape {
  readonly name: string;
  /** Dataset, licence, tokenizer. */
  readonly source: string;
  readonly tokenizer: string;
  /** Requests it was fitted to. */
  readonly n: number;
  readonly prompt: LengthDistribution;
  readonly output: LengthDistribution;
  /** Spearman's rank correlation of prompt and output, -1 … 1. */
  readonly rankCorrelation: number;
  /** Dependence of the ranks; null = Gaussian copula of `rankCorrelation`. */
  readonly copula: RankCopula | null;
  /** Arrivals of the measured workload; null when it had no times. */
  readonly arrivals: { readonly qps: number; readonly cv: number } | null;
  /** Kolmogorov-Smirnov distance between 100,000 drawn requests and the measured ones, 0 … 1. */
  readonly distance: { readonly prompt: number; readonly output: number; readonly total: number };
}

/** `counts[i * size + j]` requests had a prompt in the i-th and an output in the j-th of `size` equal classes of rank. */
export interface RankCopula {
  readonly size: number;
  readonly counts: readonly number[];
}

/** What a shape says about its origin. */
export interface ShapeOrigin {
  readonly name: string;
  readonly source: string;
  readonly tokenizer?: string;
}

/** Classes of rank in a fitted copula. */
const COPULA_SIZE = 40;
/** Fewest requests per cell on average at which a table says more than the rank correlation. */
const MIN_PER_CELL = 5;
const CHECK_DRAWS = 100_000;

/**
 * Fits a shape to the prompt and output tokens (whole numbers >= 1) of at least 2 requests, row by row, and to their
 * arrival times in seconds, ascending, where known. Deterministic. O(n log n).
 */
export function fitShape(
  origin: ShapeOrigin,
  prompt: Int32Array,
  output: Int32Array,
  arrivedAt: Float64Array | null = null,
): WorkloadShape {
  const n = prompt.length;
  invariant(
    n >= 2 && output.length === n,
    `a shape is fitted to ${n} and ${output.length} lengths`,
  );
  const size = Math.min(COPULA_SIZE, Math.floor(Math.sqrt(n / MIN_PER_CELL)));
  const correlation = spearman(Array.from(prompt), Array.from(output));
  const sorted = { prompt: prompt.slice().sort(), output: output.slice().sort() };
  const shape: WorkloadShape = {
    name: origin.name,
    source: origin.source,
    tokenizer: origin.tokenizer ?? "unknown",
    n,
    prompt: fitLengths(sorted.prompt),
    output: fitLengths(sorted.output),
    rankCorrelation: Number.isNaN(correlation) ? 0 : Math.round(correlation * 1e4) / 1e4,
    copula: size >= 4 ? rankCopula(prompt, output, size) : null,
    arrivals: arrivedAt === null ? null : arrivalFigures(arrivedAt),
    distance: { prompt: 0, output: 0, total: 0 },
  };
  return { ...shape, distance: distanceTo(shape, prompt, output) };
}

/** Kolmogorov-Smirnov distances of 100,000 requests drawn from the shape to a sample. */
export function distanceTo(
  shape: WorkloadShape,
  prompt: Int32Array,
  output: Int32Array,
): WorkloadShape["distance"] {
  const source = new ShapeSource(shape, new Rng("shape-distance"));
  const drawn = [0, 1, 2].map(() => new Float64Array(CHECK_DRAWS));
  for (let i = 0; i < CHECK_DRAWS; i++) {
    source.draw();
    (drawn[0] as Float64Array)[i] = source.prompt;
    (drawn[1] as Float64Array)[i] = source.output;
    (drawn[2] as Float64Array)[i] = source.prompt + source.output;
  }
  const total = Float64Array.from(prompt, (p, i) => p + (output[i] as number));
  const [byPrompt, byOutput, byTotal] = [
    Float64Array.from(prompt),
    Float64Array.from(output),
    total,
  ].map((measured, k) => {
    const distance = kolmogorovSmirnov((drawn[k] as Float64Array).sort(), measured.sort());
    return Math.round(distance * 1e5) / 1e5;
  }) as [number, number, number];
  return { prompt: byPrompt, output: byOutput, total: byTotal };
}

/** Draws prompts and outputs together. Two (table) or three (Gaussian) draws per request. */
export class ShapeSource implements LengthSource {
  prompt = 1;
  output = 1;
  private readonly rng: Rng;
  private readonly promptAt: LengthInverse;
  private readonly outputAt: LengthInverse;
  private readonly size: number;
  /** Per class of prompt rank: cumulative shares of the classes of output rank. */
  private readonly rows: Float64Array;
  private readonly rho: number;

  constructor(shape: WorkloadShape, rng: Rng) {
    this.rng = rng;
    this.promptAt = new LengthInverse(shape.prompt);
    this.outputAt = new LengthInverse(shape.output);
    const { copula } = shape;
    this.size = copula?.size ?? 0;
    this.rows = new Float64Array(this.size * this.size);
    for (let i = 0; i < this.size; i++) {
      let seen = 0;
      for (let j = 0; j < this.size; j++) {
        seen += copula?.counts[i * this.size + j] ?? 0;
        this.rows[i * this.size + j] = seen;
      }
      for (let j = 0; j < this.size; j++) this.rows[i * this.size + j]! /= seen;
    }
    // The Gaussian copula whose Spearman correlation is the one given (Kruskal 1958).
    this.rho = 2 * Math.sin((Math.PI * shape.rankCorrelation) / 6);
  }

  draw(): void {
    const { rng, size } = this;
    if (size === 0) {
      const x = rng.normal();
      const y = this.rho * x + Math.sqrt(1 - this.rho * this.rho) * rng.normal();
      this.prompt = this.promptAt.at(normalShare(x));
      this.output = this.outputAt.at(normalShare(y));
      return;
    }
    const u = rng.next();
    const v = rng.next();
    const row = Math.floor(u * size) * size;
    let j = 0;
    while (j + 1 < size && (this.rows[row + j] as number) <= v) j++;
    const below = j === 0 ? 0 : (this.rows[row + j - 1] as number);
    // The place of v within the chosen class is uniform and independent of the choice.
    const within = (v - below) / ((this.rows[row + j] as number) - below);
    this.prompt = this.promptAt.at(u);
    this.output = this.outputAt.at((j + within) / size);
  }
}

/** Counts of requests per pair of rank classes; equal lengths are ranked in random order, as a draw would find them. */
function rankCopula(prompt: Int32Array, output: Int32Array, size: number): RankCopula {
  const classesOf = (values: Int32Array, rng: Rng): Int32Array => {
    const n = values.length;
    const order = Int32Array.from({ length: n }, (_, i) => i);
    rng.shuffle(order);
    order.sort((a, b) => (values[a] as number) - (values[b] as number));
    const out = new Int32Array(n);
    order.forEach((i, rank) => {
      out[i] = Math.floor((rank * size) / n);
    });
    return out;
  };
  const rng = new Rng("rank-copula");
  const rows = classesOf(prompt, rng.fork("prompt"));
  const columns = classesOf(output, rng.fork("output"));
  const counts = new Array<number>(size * size).fill(0);
  rows.forEach((row, i) => {
    counts[row * size + (columns[i] as number)]! += 1;
  });
  return { size, counts };
}

function arrivalFigures(arrivedAt: Float64Array): { qps: number; cv: number } | null {
  const n = arrivedAt.length - 1;
  const span = (arrivedAt[n] as number) - (arrivedAt[0] as number);
  if (!(span > 0)) return null;
  const mean = span / n;
  let squares = 0;
  for (let i = 0; i < n; i++) {
    squares += ((arrivedAt[i + 1] as number) - (arrivedAt[i] as number) - mean) ** 2;
  }
  return { qps: round4(1 / mean), cv: round4(Math.sqrt(squares / n) / mean) };
}

function round4(value: number): number {
  return Number(value.toPrecision(4));
}

/** Standard normal distribution function in [0, 1), error below 1.5e-7 (Abramowitz and Stegun 7.1.26). */
function normalShare(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const tail =
    0.5 *
    t *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) *
    Math.exp(-x * x);
  return Math.min(z < 0 ? tail : 1 - tail, 1 - Number.EPSILON);
}
