/** Counts native objects that are alive, by kind: what was not disposed shows up here (and in the leak test). */

const live = new Map<string, number>();

/** Notes a native object as created. */
export function opened(kind: string): void {
  live.set(kind, (live.get(kind) ?? 0) + 1);
}

/** Notes a native object as freed. */
export function closed(kind: string): void {
  const left = (live.get(kind) ?? 0) - 1;
  if (left === 0) live.delete(kind);
  else live.set(kind, left);
}

/** Native objects that are alive, by kind; empty when all were disposed. */
export function liveHandles(): ReadonlyMap<string, number> {
  return live;
}
