/**
 * The requests of a job. They are made once and their arrivals rescaled, so that all rates, and all candidates, see the
 * same draws (common random numbers); the rate over the run is exactly the one asked for.
 */
import {
  generateWorkload,
  type RequestTable,
  rescaleArrivals,
  tracePaths,
  type WorkloadInputs,
  type WorkloadSpec,
} from "@millrace/serving";
import type { JobWorkload } from "./job.ts";

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

/** What a job says of its workload; `inputs` holds the traces and shapes that the spec names. Throws CONFIG_INVALID. */
export function describeWorkload(
  spec: WorkloadSpec,
  requests: number,
  seed: number,
  inputs: WorkloadInputs = {},
): JobWorkload {
  const own = tracePaths(spec).length > 0 || Object.keys(inputs.shapes ?? {}).length > 0;
  if (!own) return { spec, requests, seed, rows: null };
  const table = generateWorkload(boundedSpec(spec, requests), seed, inputs);
  const rows = {
    arrivedAt: [...table.arrivedAt],
    promptTokens: [...table.promptTokens],
    outputTokens: [...table.outputTokens],
    classIndex: [...table.classIndex],
    classes: table.classes,
  };
  return { spec, requests: table.count, seed, rows };
}
