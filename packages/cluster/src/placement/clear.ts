/**
 * Making room on one server for a job that loses speed over several: which jobs to move away, at the least loss. Pure over a
 * view, so that every allocator uses it on its own books.
 */

/** A job on one server, as far as moving it matters. */
export interface Resident<J> {
  readonly job: J;
  readonly gpus: number;
  /** Seconds of speed 1 that a move costs; Infinity when it must stay. */
  readonly loss: number;
}

/** The servers as they are. */
export interface ClearView<J> {
  readonly servers: number;
  /** GPUs that a new job may take; 0 on servers that take none. */
  freeGpus(server: number): number;
  /** Jobs that sit on this server alone. */
  residents(server: number): readonly Resident<J>[];
  /** Whether the least of what the job needs is there beside the others. */
  fits(job: J, server: number): boolean;
}

/** A job goes from its server to another one. */
export interface ClearMove<J> {
  readonly job: J;
  readonly to: number;
}

interface Cleared<J> {
  readonly moves: readonly ClearMove<J>[];
  readonly loss: number;
}

/**
 * The server and the moves that give it `gpus` free GPUs at a loss below `gain`; null when there are none. O(servers *
 * residents * servers) on servers that could be cleared at all.
 */
export function movesToClear<J>(
  view: ClearView<J>,
  gpus: number,
  gain: number,
): (Cleared<J> & { readonly server: number }) | null {
  let best: (Cleared<J> & { readonly server: number }) | null = null;
  let most = gain;
  const free = Float64Array.from({ length: view.servers }, (_, s) => view.freeGpus(s));
  const elsewhere = free.reduce((sum, n) => sum + n, 0);
  for (let server = 0; server < view.servers; server++) {
    const need = gpus - (free[server] as number);
    // A server that takes no jobs has no free GPUs and is not worth clearing.
    if ((free[server] as number) === 0 || need > elsewhere - (free[server] as number)) continue;
    const found = clearOne(view, server, need, free, most);
    if (found === null) continue;
    best = { server, ...found };
    most = found.loss;
  }
  return best;
}

function clearOne<J>(
  view: ClearView<J>,
  server: number,
  need: number,
  free: Float64Array,
  most: number,
): Cleared<J> | null {
  const residents = view
    .residents(server)
    .filter(({ loss }) => loss < most)
    .sort((a, b) => a.loss / a.gpus - b.loss / b.gpus || b.gpus - a.gpus);
  const left = free.slice();
  left[server] = 0;
  const moves: ClearMove<J>[] = [];
  let missing = need;
  let loss = 0;
  for (const resident of residents) {
    if (missing <= 0) break;
    const to = tightest(view, resident, left);
    if (to < 0) continue;
    left[to]! -= resident.gpus;
    moves.push({ job: resident.job, to });
    missing -= resident.gpus;
    loss += resident.loss;
    if (loss >= most) return null;
  }
  return missing <= 0 ? { moves, loss } : null;
}

/** The server with the fewest free GPUs that takes the job. */
function tightest<J>(view: ClearView<J>, { job, gpus }: Resident<J>, left: Float64Array): number {
  let best = -1;
  for (let s = 0; s < view.servers; s++) {
    const room = left[s] as number;
    if (room < gpus || (best >= 0 && room >= (left[best] as number))) continue;
    if (view.fits(job, s)) best = s;
  }
  return best;
}
