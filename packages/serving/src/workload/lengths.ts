/** Length models: prompt and output tokens of one request after another, drawn from a stream of their own. */
import { didYouMean, MillraceError, type Rng } from "@millrace/core";
import { ShapeSource, type WorkloadShape } from "./shape.ts";
import { builtInShapes } from "./shapes/index.ts";
import type { ClipMode, LengthSpec, TraceLengths } from "./spec.ts";
import type { TraceRows } from "./trace-csv.ts";

/** Lengths one after another; `draw` leaves the next pair in `prompt` and `output` (whole numbers >= 1). */
export interface LengthSource {
  prompt: number;
  output: number;
  draw(): void;
}

/** What a spec may name besides the built-in shapes. */
export interface LengthInputs {
  readonly trace: (path: string) => TraceRows;
  readonly shapes: Readonly<Record<string, WorkloadShape>>;
  /** Row of the trace that lengths in file order start with. */
  readonly firstRow: number;
}

/** The lengths of a spec, drawn from `rng`. */
export function lengthSource(spec: LengthSpec, rng: Rng, inputs: LengthInputs): LengthSource {
  switch (spec.type) {
    case "fixed":
      return { prompt: spec.prompt, output: spec.output, draw: () => {} };
    case "uniform":
      return new SplitSource(() => rng.int(spec.min, spec.max), spec.promptToOutput);
    case "range":
      return new RangeSource(spec.prompt, spec.output, rng);
    case "zipf": {
      const rank = zipfRank(spec.max - spec.min + 1, spec.theta, rng.fork("rank"));
      const order = Int32Array.from({ length: spec.max - spec.min + 1 }, (_, i) => spec.min + i);
      if (spec.scramble === true) rng.fork("scramble").shuffle(order);
      return new SplitSource(() => order[rank()] as number, spec.promptToOutput);
    }
    case "shape": {
      const source = new ShapeSource(shapeByName(spec.name, inputs.shapes), rng);
      return scaled(source, spec.promptScale, spec.outputScale);
    }
    case "trace": {
      const source = new TraceSource(spec, inputs.trace(spec.path), rng, inputs.firstRow);
      return scaled(source, spec.promptScale, spec.outputScale);
    }
  }
}

/** A shape by name, the caller's own before the built-in ones. */
export function shapeByName(
  name: string,
  own: Readonly<Record<string, WorkloadShape>> = {},
): WorkloadShape {
  const all: Readonly<Record<string, WorkloadShape>> = { ...builtInShapes, ...own };
  const shape = Object.hasOwn(all, name) ? all[name] : undefined;
  if (shape !== undefined) return shape;
  const near = didYouMean(name, Object.keys(all));
  throw new MillraceError("CONFIG_INVALID", `there is no workload shape named "${name}"`, {
    hint: near === null ? `shapes: ${Object.keys(all).join(", ")}` : `did you mean ${near}?`,
  });
}

/** A total, split promptToOutput : 1 with the output rounded up, as Vidur and Etalon do. */
class SplitSource implements LengthSource {
  prompt = 1;
  output = 1;
  private readonly total: () => number;
  private readonly ratio: number;

  constructor(total: () => number, ratio: number) {
    this.total = total;
    this.ratio = ratio;
  }

  draw(): void {
    const total = this.total();
    this.output = Math.ceil(total / (1 + this.ratio));
    this.prompt = Math.max(1, total - this.output);
  }
}

class RangeSource implements LengthSource {
  prompt = 1;
  output = 1;
  private readonly promptRange: { readonly min: number; readonly max: number };
  private readonly outputRange: { readonly min: number; readonly max: number };
  private readonly rng: Rng;

  constructor(
    prompt: { readonly min: number; readonly max: number },
    output: { readonly min: number; readonly max: number },
    rng: Rng,
  ) {
    this.promptRange = prompt;
    this.outputRange = output;
    this.rng = rng;
  }

  draw(): void {
    this.prompt = this.rng.int(this.promptRange.min, this.promptRange.max);
    this.output = this.rng.int(this.outputRange.min, this.outputRange.max);
  }
}

/** Ranks 0 … n - 1 with weights (rank + 1)^-theta in constant time (Walker's alias method, Vose 1991). */
function zipfRank(n: number, theta: number, rng: Rng): () => number {
  const share = Float64Array.from({ length: n }, (_, k) => (k + 1) ** -theta);
  const sum = share.reduce((a, b) => a + b, 0);
  const other = new Int32Array(n);
  const small: number[] = [];
  const large: number[] = [];
  for (let k = 0; k < n; k++) {
    share[k] = ((share[k] as number) * n) / sum;
    ((share[k] as number) < 1 ? small : large).push(k);
  }
  while (small.length > 0 && large.length > 0) {
    const less = small.pop() as number;
    const more = large[large.length - 1] as number;
    other[less] = more;
    share[more] = (share[more] as number) - (1 - (share[less] as number));
    if ((share[more] as number) < 1) small.push(large.pop() as number);
  }
  // What is left differs from 1 by rounding only.
  for (const k of [...small, ...large]) share[k] = 1;
  return () => {
    const place = rng.next() * n;
    const k = Math.floor(place);
    return place - k < (share[k] as number) ? k : (other[k] as number);
  };
}

/** Rows of a trace, over and over. */
class TraceSource implements LengthSource {
  prompt = 1;
  output = 1;
  private readonly rows: TraceRows;
  private readonly order: Int32Array | null;
  private at: number;

  constructor(spec: TraceLengths, rows: TraceRows, rng: Rng, firstRow: number) {
    if (rows.count === 0) throw new MillraceError("TRACE_INVALID", `${spec.path} has no rows`);
    this.rows = rows;
    const shuffled = spec.order !== "file";
    this.order = shuffled ? Int32Array.from({ length: rows.count }, (_, i) => i) : null;
    if (this.order !== null) rng.shuffle(this.order);
    this.at = shuffled ? 0 : firstRow % rows.count;
  }

  draw(): void {
    const row = this.order === null ? this.at : (this.order[this.at] as number);
    this.prompt = this.rows.promptTokens[row] as number;
    this.output = this.rows.outputTokens[row] as number;
    this.at = this.at + 1 === this.rows.count ? 0 : this.at + 1;
  }
}

function scaled(source: LengthSource, promptScale = 1, outputScale = 1): LengthSource {
  if (promptScale === 1 && outputScale === 1) return source;
  const out: LengthSource = {
    prompt: 1,
    output: 1,
    draw: () => {
      source.draw();
      out.prompt = Math.max(1, Math.round(source.prompt * promptScale));
      out.output = Math.max(1, Math.round(source.output * outputScale));
    },
  };
  return out;
}

/** Draws in a row that may be too long before a spec is taken to have no short enough lengths. */
const MAX_REDRAWS = 10_000;

/** Keeps prompt plus output within `maxTokens` (>= 2), each at least 1. */
export function clipped(source: LengthSource, maxTokens: number, mode: ClipMode): LengthSource {
  const out: LengthSource = {
    prompt: 1,
    output: 1,
    draw: () => {
      source.draw();
      for (let i = 0; mode === "drop" && source.prompt + source.output > maxTokens; i++) {
        if (i === MAX_REDRAWS) {
          throw new MillraceError(
            "CONFIG_INVALID",
            `no request of at most maxTokens ${maxTokens} in ${MAX_REDRAWS} draws`,
            { hint: "raise maxTokens, or set clip to proportional" },
          );
        }
        source.draw();
      }
      const { prompt, output } = source;
      const over = prompt + output - maxTokens;
      out.prompt = prompt;
      out.output = output;
      if (over <= 0) return;
      if (mode === "prompt") {
        out.prompt = Math.max(1, prompt - over);
        out.output = Math.min(output, maxTokens - out.prompt);
      } else if (mode === "output") {
        out.output = Math.max(1, output - over);
        out.prompt = Math.min(prompt, maxTokens - out.output);
      } else {
        // Both cuts are rounded up, as in Vidur, so the sum may end one below the limit.
        out.prompt = Math.max(1, prompt - Math.ceil((over * prompt) / (prompt + output)));
        out.output = Math.max(1, output - Math.ceil((over * output) / (prompt + output)));
        if (out.prompt + out.output > maxTokens) {
          if (out.prompt > out.output) out.prompt = maxTokens - out.output;
          else out.output = maxTokens - out.prompt;
        }
      }
    },
  };
  return out;
}
