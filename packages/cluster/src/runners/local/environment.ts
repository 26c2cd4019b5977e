/** The variables that a program gets. */

import type { RunnerJob } from "../runner.ts";
import type { AttemptGrant } from "./records.ts";

/** What other users' programs see of the scheduler's own environment. */
const shared = ["PATH", "LANG", "LC_ALL", "TZ"] as const;

/**
 * A job's environment: the scheduler's own for its own user, a clean one for others; what is granted, in the words that
 * programs know; the job's own variables over both.
 */
export function programEnvironment(
  job: RunnerJob,
  { slice }: AttemptGrant,
  attempt: number,
): Readonly<Record<string, string>> {
  const { user } = job;
  const own = user === null || user.uid === process.getuid?.();
  const base: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && (own || (shared as readonly string[]).includes(name)))
      base[name] = value;
  if (!own) Object.assign(base, { USER: user.name, LOGNAME: user.name });
  const cores = String(Math.max(1, Math.floor(slice.cpus)));
  return {
    ...base,
    OMP_NUM_THREADS: cores,
    CUDA_VISIBLE_DEVICES: slice.gpus.join(","),
    MILLRACE_CPUS: String(slice.cpus),
    MILLRACE_HOST_BYTES: String(slice.hostBytes),
    MILLRACE_CACHE_BYTES: String(slice.cacheBytes),
    MILLRACE_JOB: job.id,
    MILLRACE_ATTEMPT: String(attempt),
    ...job.environment,
  };
}
