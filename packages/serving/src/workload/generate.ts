/**
 * Makes a table of requests from a spec and a seed. Arrivals, lengths and class choices come from separate streams of
 * the seed, per class: changing a rate rescales the same arrivals and leaves every length as it was (common random
 * numbers), which makes two loads comparable request by request.
 */
import { didYouMean, invariant, MillraceError, Rng } from "@millrace/core";
import { type ArrivalSource, arrivalSource } from "./arrivals.ts";
import { clipped, type LengthSource, lengthSource } from "./lengths.ts";
import type { RequestTable } from "./request-table.ts";
import type { WorkloadShape } from "./shape.ts";
import type { ArrivalSpec, LengthSpec, TrafficClassSpec, WorkloadSpec } from "./spec.ts";
import type { TraceRows } from "./trace-csv.ts";

/** What the spec names: traces by path, fitted shapes by name. */
export interface WorkloadInputs {
  readonly traces?: Readonly<Record<string, TraceRows>>;
  readonly shapes?: Readonly<Record<string, WorkloadShape>>;
}

/** One stream of arrivals and the classes it feeds: one of its own, or several by share. */
interface Feed {
  readonly arrivals: ArrivalSource;
  readonly classes: readonly number[];
  /** Cumulative shares, for more than one class. */
  readonly upTo: Float64Array;
}

/**
 * Generates the workload. Pure: equal spec, seed and inputs give equal bytes. Throws MillraceError CONFIG_INVALID when
 * the spec has no end, no arrivals or no lengths, or names a shape or trace that is not there. About 0.2 µs a request.
 */
export function generateWorkload(
  spec: WorkloadSpec,
  seed: number | string,
  inputs: WorkloadInputs = {},
): RequestTable {
  const rng = new Rng(seed).fork("workload");
  const classes = spec.classes ?? [{ name: "default" }];
  invariant(classes.length >= 1 && classes.length <= 256, `${classes.length} traffic classes`);
  const trace = (path: string): TraceRows => traceByPath(path, inputs.traces ?? {});
  const feeds = feedsOf(spec, classes, rng, trace);
  const lengths = classes.map((c) => {
    const own = c.lengths ?? spec.lengths ?? missing("lengths", c.name);
    const arrivals = c.arrivals ?? spec.arrivals;
    const source = lengthSource(own, rng.fork(`lengths/${c.name}`), {
      trace,
      shapes: inputs.shapes ?? {},
      firstRow: firstRow(arrivals, own, trace),
    });
    if (spec.maxTokens === undefined) return source;
    return clipped(source, spec.maxTokens, spec.clip ?? "proportional");
  });
  const { requests = Number.POSITIVE_INFINITY, duration = Number.POSITIVE_INFINITY } = spec;
  checkEnd(feeds, requests, duration);
  const rows = merge(feeds, lengths, rng.fork("classes"), requests, duration);
  return {
    count: rows.count,
    arrivedAt: rows.arrivedAt.slice(0, rows.count),
    promptTokens: rows.promptTokens.slice(0, rows.count),
    outputTokens: rows.outputTokens.slice(0, rows.count),
    classIndex: rows.classIndex.slice(0, rows.count),
    classes: classes.map((c) => ({ name: c.name, priority: c.priority ?? 0 })),
    ids: null,
  };
}

/**
 * The same requests at `factor` times the rate: arrival times divided by it, everything else shared with `table`. For
 * Poisson, gamma and static arrivals limited by `requests`, this is what `generateWorkload` gives at that rate.
 */
export function rescaleArrivals(table: RequestTable, factor: number): RequestTable {
  invariant(factor > 0, `arrivals are rescaled by ${factor}`);
  return { ...table, arrivedAt: table.arrivedAt.map((at) => at / factor) };
}

/** Paths of the traces that a spec needs. */
export function tracePaths(spec: WorkloadSpec): string[] {
  const paths = new Set<string>();
  for (const part of [spec, ...(spec.classes ?? [])]) {
    if (part.arrivals?.type === "trace") paths.add(part.arrivals.path);
    if (part.lengths?.type === "trace") paths.add(part.lengths.path);
  }
  return [...paths];
}

function feedsOf(
  spec: WorkloadSpec,
  classes: readonly TrafficClassSpec[],
  rng: Rng,
  trace: (path: string) => TraceRows,
): Feed[] {
  const feeds: Feed[] = [];
  const shared: number[] = [];
  classes.forEach((c, index) => {
    if (c.arrivals === undefined) shared.push(index);
    else {
      const arrivals = arrivalSource(c.arrivals, rng.fork(`arrivals/${c.name}`), trace);
      feeds.push({ arrivals, classes: [index], upTo: Float64Array.of(1) });
    }
  });
  if (shared.length === 0) return feeds;
  const first = classes[shared[0] as number] as TrafficClassSpec;
  const arrivals = spec.arrivals ?? missing("arrivals", first.name);
  const shares = Float64Array.from(shared, (i) => classes[i]?.share ?? 1);
  const sum = shares.reduce((a, b) => a + b, 0);
  if (!(sum > 0)) {
    throw new MillraceError(
      "CONFIG_INVALID",
      `the shares of the traffic classes add up to ${sum}`,
      {
        hint: "give at least one class a share above 0",
      },
    );
  }
  let seen = 0;
  const upTo = shares.map((share) => {
    seen += share;
    return seen / sum;
  });
  feeds.push({
    arrivals: arrivalSource(arrivals, rng.fork("arrivals"), trace),
    classes: shared,
    upTo,
  });
  return feeds;
}

/** Takes the earliest arrival of all feeds until the end; equal times go to the feed named first. */
function merge(
  feeds: readonly Feed[],
  lengths: readonly LengthSource[],
  choice: Rng,
  requests: number,
  duration: number,
): {
  count: number;
  arrivedAt: Float64Array;
  promptTokens: Int32Array;
  outputTokens: Int32Array;
  classIndex: Uint8Array;
} {
  let capacity = Number.isFinite(requests) ? Math.min(requests, 1 << 20) : 1024;
  let arrivedAt = new Float64Array(capacity);
  let promptTokens = new Int32Array(capacity);
  let outputTokens = new Int32Array(capacity);
  let classIndex = new Uint8Array(capacity);
  const heads = Float64Array.from(feeds, (feed) => feed.arrivals.next());
  let count = 0;
  while (count < requests) {
    let from = 0;
    for (let k = 1; k < heads.length; k++) {
      if ((heads[k] as number) < (heads[from] as number)) from = k;
    }
    const at = heads[from] as number;
    if (!(at < duration)) break;
    if (count === capacity) {
      capacity *= 2;
      arrivedAt = grown(arrivedAt, new Float64Array(capacity));
      promptTokens = grown(promptTokens, new Int32Array(capacity));
      outputTokens = grown(outputTokens, new Int32Array(capacity));
      classIndex = grown(classIndex, new Uint8Array(capacity));
    }
    const feed = feeds[from] as Feed;
    heads[from] = feed.arrivals.next();
    let k = 0;
    if (feed.classes.length > 1) {
      const u = choice.next();
      while (k + 1 < feed.upTo.length && (feed.upTo[k] as number) <= u) k++;
    }
    const owner = feed.classes[k] as number;
    const source = lengths[owner] as LengthSource;
    source.draw();
    arrivedAt[count] = at;
    promptTokens[count] = source.prompt;
    outputTokens[count] = source.output;
    classIndex[count] = owner;
    count++;
  }
  return { count, arrivedAt, promptTokens, outputTokens, classIndex };
}

function grown<T extends Float64Array | Int32Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}

/** Lengths in file order start at the row where the window of the same trace's arrivals starts. */
function firstRow(
  arrivals: ArrivalSpec | undefined,
  lengths: LengthSpec,
  trace: (path: string) => TraceRows,
): number {
  if (arrivals?.type !== "trace" || lengths.type !== "trace") return 0;
  if (arrivals.path !== lengths.path) return 0;
  const { arrivedAt, count } = trace(arrivals.path);
  let row = 0;
  while (row < count && (arrivedAt?.[row] as number) < (arrivals.from ?? 0)) row++;
  return row;
}

function traceByPath(path: string, traces: Readonly<Record<string, TraceRows>>): TraceRows {
  const found = Object.hasOwn(traces, path) ? traces[path] : undefined;
  if (found !== undefined) return found;
  const near = didYouMean(path, Object.keys(traces));
  throw new MillraceError(
    "CONFIG_INVALID",
    `the workload names a trace "${path}" that is not loaded`,
    {
      hint: near === null ? "give the path of a CSV trace" : `did you mean ${near}?`,
    },
  );
}

function checkEnd(feeds: readonly Feed[], requests: number, duration: number): void {
  if (Number.isFinite(requests)) return;
  const endless = feeds.some(({ arrivals }) =>
    Number.isFinite(duration) ? arrivals.instant === true : arrivals.finite !== true,
  );
  if (!endless) return;
  throw new MillraceError("CONFIG_INVALID", "the workload never ends", {
    hint: Number.isFinite(duration)
      ? "static arrivals without qps are all at 0 s: set requests"
      : "set requests or duration",
  });
}

function missing(part: "arrivals" | "lengths", name: string): never {
  throw new MillraceError("CONFIG_INVALID", `the traffic class "${name}" has no ${part}`, {
    hint: `set workload.${part}, or ${part} of the class`,
  });
}
