/** Where a job can go: consolidating best fit, or the first GPUs in index order (Synergy §4.3). */
import type { JobState } from "../contracts.ts";
import type { Choice } from "../profile/options.ts";
import { evenParts } from "./even.ts";
import type { Ledger, Part } from "./ledger.ts";

/** `consolidate`: one server where possible, fewest free GPUs first; `none`: by index, spanning as it comes. */
export type PlacementMode = "consolidate" | "none";

/** The parts of a placement with this choice, or null when it does not fit. Changes nothing. */
export function findPlace(
  ledger: Ledger,
  job: JobState,
  choice: Choice,
  mode: PlacementMode,
): readonly Part[] | null {
  if (ledger.freeGpus < job.gpus) return null;
  if (ledger.spanning !== "any") {
    const one = oneServer(ledger, job, choice);
    if (one !== null || ledger.spanning === "none") return one;
    const room = (server: number, gpus: number) =>
      (ledger.gpus[server] as number) >= gpus && ledger.fits(server, job, choice, gpus);
    return evenParts(job.gpus, byFreeGpus(ledger), room);
  }
  if (mode === "none") return spread(ledger, job, choice, null);
  return oneServer(ledger, job, choice) ?? spread(ledger, job, choice, byFreeGpus(ledger));
}

/** The server with the fewest free GPUs that takes the whole job. */
function oneServer(ledger: Ledger, job: JobState, choice: Choice): readonly Part[] | null {
  let best = -1;
  let fewest = Number.POSITIVE_INFINITY;
  for (let s = ledger.first; s < ledger.servers; s++) {
    const free = ledger.gpus[s] as number;
    if (free < job.gpus || free >= fewest || !ledger.fits(s, job, choice, job.gpus)) continue;
    best = s;
    fewest = free;
    if (free === job.gpus) break;
  }
  return best < 0 ? null : [{ server: best, gpus: job.gpus }];
}

/** As many GPUs from each server as it can serve, in the given order (null: by index). */
function spread(
  ledger: Ledger,
  job: JobState,
  choice: Choice,
  order: readonly number[] | null,
): readonly Part[] | null {
  if (order === null && job.gpus === 1) {
    for (let s = ledger.first; s < ledger.servers; s++)
      if ((ledger.gpus[s] as number) > 0 && ledger.fits(s, job, choice, 1))
        return [{ server: s, gpus: 1 }];
    return null;
  }
  const parts: Part[] = [];
  let missing = job.gpus;
  const end = order?.length ?? ledger.servers;
  for (let i = order === null ? ledger.first : 0; i < end && missing > 0; i++) {
    const s = order === null ? i : (order[i] as number);
    let gpus = Math.min(missing, ledger.gpus[s] as number);
    while (gpus > 0 && !ledger.fits(s, job, choice, gpus)) gpus--;
    if (gpus <= 0) continue;
    parts.push({ server: s, gpus });
    missing -= gpus;
  }
  return missing === 0 ? parts : null;
}

/** Servers with free GPUs, fewest first, then by index. */
export function byFreeGpus(ledger: Ledger): number[] {
  const order: number[] = [];
  for (let s = ledger.first; s < ledger.servers; s++)
    if ((ledger.gpus[s] as number) > 0) order.push(s);
  return order.sort((a, b) => (ledger.gpus[a] as number) - (ledger.gpus[b] as number) || a - b);
}
