/**
 * The job profile: samples per second of a training job over CPUs and cache, per GPU. `data analyze` and `cluster
 * profile` write it, the cluster scheduler reads it (Synergy §4.2 calls it the resource sensitivity matrix; its memory
 * axis is derived from the stall model as its section on optimistic profiling does).
 */
import { MillraceError } from "@millrace/core";
import { z } from "zod";
import { estimateEpoch, type Setting } from "./epoch.ts";
import type { JobRates } from "./rates.ts";

const positive = z.number().positive();
const axis = z
  .array(z.number().nonnegative())
  .min(1)
  .refine((values) => values.every((v, i) => i === 0 || v > (values[i - 1] as number)), {
    message: "expected ascending values",
  });

/** What the rates in a profile are of; see JobRates. */
const ratesSchema = z.strictObject({
  samples: positive,
  bytesPerSample: positive,
  ingestionRate: positive,
  prep: z.array(z.strictObject({ cores: positive, samplesPerSecond: positive })),
  cacheBytesPerSecond: positive,
  storageBytesPerSecond: positive,
  networkBytesPerSecond: positive.optional(),
  missCoreSeconds: z.number().nonnegative().optional(),
});

/** `millrace.job-profile/1`. Axes and rates are per GPU. */
export const jobProfileSchema = z
  .strictObject({
    $schema: z.string().optional(),
    schema: z.literal("millrace.job-profile/1"),
    /** Name of the job or model; what traces refer to. */
    name: z.string().min(1),
    units: z.strictObject({
      cpus: z.literal("CPUs per GPU"),
      cacheBytes: z.literal("bytes per GPU"),
      samplesPerSecond: z.literal("samples/s per GPU"),
    }),
    /** GPUs that the job ran on when it was measured. */
    gpus: z.int().positive(),
    cpus: axis,
    cacheBytes: axis,
    /** Row per number of CPUs, column per cache size; null where the job cannot run. */
    samplesPerSecond: z.array(z.array(positive.nullable())),
    /** Which entries were measured and which follow from the stall model. */
    source: z.enum(["measured", "modelled", "mixed"]),
    /** Samples that a step takes per GPU. */
    batchSize: z.int().positive().optional(),
    /** Host memory per GPU that the job needs beside the cache, bytes. */
    hostBytes: z.number().nonnegative().optional(),
    datasetBytes: positive.optional(),
    samplesPerEpoch: positive.optional(),
    policy: z.enum(["minio", "lru", "sequential", "none"]),
    /** What the matrix was made from, per GPU; lets a reader ask the model about other points. */
    rates: ratesSchema.optional(),
    machine: z.strictObject({
      cpu: z.string(),
      cores: z.int().positive(),
      hostMemoryBytes: positive,
      storage: z.string(),
      accelerator: z.string(),
    }),
    /** When it was made, ISO 8601. */
    date: z.iso.datetime({ offset: true }),
    notes: z.array(z.string()).optional(),
  })
  .refine(
    ({ samplesPerSecond, cpus, cacheBytes }) =>
      samplesPerSecond.length === cpus.length &&
      samplesPerSecond.every((row) => row.length === cacheBytes.length),
    {
      message: "expected a row per entry of cpus, each with a column per entry of cacheBytes",
      path: ["samplesPerSecond"],
    },
  );

export type JobProfile = Readonly<z.infer<typeof jobProfileSchema>>;

/** The units of every profile, spelled out so that a file explains itself. */
export const jobProfileUnits: JobProfile["units"] = {
  cpus: "CPUs per GPU",
  cacheBytes: "bytes per GPU",
  samplesPerSecond: "samples/s per GPU",
};

/** The matrix of the stall model over the axes, for the rates of one GPU's share. */
export function modelledThroughput(
  rates: JobRates,
  cpus: readonly number[],
  cacheBytes: readonly number[],
  policy: Setting["policy"],
): number[][] {
  return cpus.map((cores) =>
    cacheBytes.map(
      (bytes) => estimateEpoch(rates, { cores, cacheBytes: bytes, policy }).samplesPerSecond,
    ),
  );
}

/**
 * Samples per second per GPU at a point, linear between the four entries around it and constant beyond the last; below
 * the first number of CPUs in proportion to it. Null when an entry that counts is null: the job does not run there.
 */
export function throughputAt(profile: JobProfile, cpus: number, cacheBytes: number): number | null {
  const [row, rowPart] = bracket(profile.cpus, cpus);
  const [column, columnPart] = bracket(profile.cacheBytes, cacheBytes);
  let sum = 0;
  for (const [i, wi] of [
    [row, 1 - rowPart],
    [row + 1, rowPart],
  ] as const)
    for (const [j, wj] of [
      [column, 1 - columnPart],
      [column + 1, columnPart],
    ] as const) {
      if (wi * wj === 0) continue;
      const entry = profile.samplesPerSecond[i]?.[j] ?? null;
      if (entry === null) return null;
      sum += wi * wj * entry;
    }
  const least = profile.cpus[0] as number;
  return cpus < least ? (sum * cpus) / least : sum;
}

/** The entry at or before a value, and how far on the way to the next it lies, 0 … 1. */
function bracket(values: readonly number[], value: number): readonly [number, number] {
  const last = values.length - 1;
  if (value >= (values[last] as number)) return [last, 0];
  let i = 0;
  while (i < last && (values[i + 1] as number) <= value) i++;
  const low = values[i] as number;
  const high = values[i + 1] as number;
  return [i, value <= low ? 0 : (value - low) / (high - low)];
}

/** The least CPUs and then the least cache of the axes that reach `share` (default 0.99) of the best entry. */
export function bestDemand(
  profile: JobProfile,
  share = 0.99,
): { readonly cpus: number; readonly cacheBytes: number; readonly samplesPerSecond: number } {
  const best = Math.max(...profile.samplesPerSecond.flat().map((v) => v ?? 0));
  for (const [i, row] of profile.samplesPerSecond.entries())
    for (const [j, value] of row.entries())
      if (value !== null && value >= share * best)
        return {
          cpus: profile.cpus[i] as number,
          cacheBytes: profile.cacheBytes[j] as number,
          samplesPerSecond: value,
        };
  throw new MillraceError("PROFILE_INVALID", `the profile of ${profile.name} has no entry at all`);
}
