/**
 * Import of the throughput matrices published with Synergy: per model the throughput of a GPU relative to its
 * proportional share of the server, over CPUs and memory per GPU (Synergy §4.2; Mohan et al., OSDI 2022).
 */
import { MillraceError } from "@millrace/core";
import { z } from "zod";

/** CPUs per GPU of the rows of a published matrix. */
export const publishedCpus: readonly number[] = [1, 2, 3, 4, 5, 6, 9, 12, 24];

/** Host memory per GPU of the columns, in GB. */
export const publishedMemoryGb: readonly number[] = [20.83, 62.5, 125, 187.5, 250];

const profileSchema = z.object({
  /** The least demand that reaches the saturated throughput. */
  bestCpuPerGpu: z.number().positive(),
  bestMemGbPerGpu: z.number().positive(),
  /** Throughput at that demand over the throughput at the proportional share. */
  speedup: z.number().positive(),
  /** Seconds of an iteration at the proportional share. */
  iterationSeconds: z.number().positive(),
  throughput: z
    .array(z.array(z.number().nonnegative()).length(publishedMemoryGb.length))
    .length(publishedCpus.length),
});

const fileSchema = z.object({
  note: z.string().optional(),
  profiles: z.record(z.string().regex(/^cpuPerGpu=/), z.record(z.string(), profileSchema)),
});

/** A model of a published file, for one ratio of CPUs to GPUs. */
export type PublishedProfile = Readonly<z.infer<typeof profileSchema>>;

/** Models by name. */
export type PublishedProfiles = ReadonlyMap<string, PublishedProfile>;

/**
 * The profiles for servers with `cpusPerGpu` CPUs per GPU. Throws PROFILE_INVALID when the text is no such file, or holds
 * none for that ratio.
 */
export function parsePublishedProfiles(
  text: string,
  file: string,
  cpusPerGpu: number,
): PublishedProfiles {
  const fail = (message: string, hint?: string): never => {
    throw new MillraceError("PROFILE_INVALID", message, {
      at: { file },
      ...(hint !== undefined && { hint }),
    });
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return fail(`the profiles are not JSON: ${(error as Error).message}`);
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`${issue?.path.join(".") || "the file"}: ${issue?.message}`);
  }
  const { profiles } = parsed.data;
  const key = Object.keys(profiles).find(
    (k) => Number(k.slice("cpuPerGpu=".length)) === cpusPerGpu,
  );
  const chosen = key === undefined ? undefined : profiles[key];
  if (chosen === undefined)
    return fail(
      `there are no profiles for ${cpusPerGpu} CPUs per GPU`,
      `the file has ${Object.keys(profiles).join(", ")}; choose --cpus-per-server and --gpus-per-server to match`,
    );
  return new Map(Object.entries(chosen));
}
