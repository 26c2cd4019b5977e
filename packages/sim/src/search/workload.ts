/**
 * The requests of a job. They are made once and their arrivals rescaled, so that all rates, and all candidates, see the
 * same draws (common random numbers); the rate over the run is exactly the one asked for.
 */
import { contentHash } from "@millrace/core";
import {
  generateWorkload,
  type RequestTable,
  rescaleArrivals,
  tracePaths,
  type WorkloadInputs,
  type WorkloadSpec,
} from "@millrace/serving";
import type { JobWorkload, WorkloadRows } from "./job.ts";

/** A table with its own mean rate, made once. */
export interface UnitWorkload {
  readonly table: RequestTable;
  /** The same requests at `rateQps` on average over the run. */
  at(rateQps: number): RequestTable;
}

export function unitWorkload(table: RequestTable): UnitWorkload {
  const last = table.arrivedAt[table.count - 1] ?? 0;
  const own = last > 0 ? (table.count - 1) / last : 1;
  return { table, at: (rateQps) => rescaleArrivals(table, rateQps / own) };
}

/** The spec with exactly `requests` requests, and Poisson arrivals at 1 per second where it has none. */
export function boundedSpec(spec: WorkloadSpec, requests: number): WorkloadSpec {
  const { duration: _, ...rest } = spec;
  const own =
    (spec.classes ?? []).length > 0 && (spec.classes ?? []).every((c) => c.arrivals !== undefined);
  return {
    ...rest,
    requests,
    ...(spec.arrivals === undefined && !own ? { arrivals: { type: "poisson", qps: 1 } } : {}),
  };
}

/** The table of a job's requests. Pure. */
export function makeWorkload({ spec, requests, seed, rows }: JobWorkload): RequestTable {
  if (rows === null) return generateWorkload(boundedSpec(spec, requests), seed);
  return {
    count: rows.arrivedAt.length,
    arrivedAt: Float64Array.from(rows.arrivedAt),
    promptTokens: Int32Array.from(rows.promptTokens),
    outputTokens: Int32Array.from(rows.outputTokens),
    classIndex: Uint8Array.from(rows.classIndex),
    classes: rows.classes,
    ids: null,
  };
}

/** What jobs say of their workload, by number of requests and seed. */
export type DescribeWorkload = (requests: number, seed: number) => JobWorkload;

/** Describes the workload of a spec, each size and seed once. `inputs` holds the traces and shapes that it names; without them CONFIG_INVALID is thrown on first use. */
export function describeWorkload(spec: WorkloadSpec, inputs: WorkloadInputs): DescribeWorkload {
  const made = new Map<string, JobWorkload>();
  const own = tracePaths(spec).length > 0 || Object.keys(inputs.shapes ?? {}).length > 0;
  return (requests, seed) => {
    const key = `${requests}/${seed}`;
    let known = made.get(key);
    if (known === undefined) {
      const rows = own ? rowsOf(generateWorkload(boundedSpec(spec, requests), seed, inputs)) : null;
      const hash = contentHash(rows ?? { spec, requests, seed });
      known = { spec, requests: rows?.arrivedAt.length ?? requests, seed, rows, hash };
      made.set(key, known);
    }
    return known;
  };
}

function rowsOf(table: RequestTable): WorkloadRows {
  return {
    arrivedAt: [...table.arrivedAt],
    promptTokens: [...table.promptTokens],
    outputTokens: [...table.outputTokens],
    classIndex: [...table.classIndex],
    classes: table.classes,
  };
}

/** `azure-conv-2023: 1,147 prompt and 212 output tokens on average`. */
export function describeShape(
  spec: WorkloadSpec,
  tokens: { readonly prompt: number; readonly output: number },
): string {
  const names = [spec, ...(spec.classes ?? [])].flatMap(({ lengths }) => {
    if (lengths === undefined) return [];
    if (lengths.type === "shape") return [lengths.name];
    return [lengths.type === "trace" ? lengths.path : `${lengths.type} lengths`];
  });
  const whole = (n: number): string => Math.round(n).toLocaleString("en-US");
  const mean = `${whole(tokens.prompt)} prompt and ${whole(tokens.output)} output tokens on average`;
  return `${[...new Set(names)].join(", ")}: ${mean}`;
}
