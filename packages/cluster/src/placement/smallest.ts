/** Partial selection, for looking at few of many servers. */

/** The `count` items with the smallest keys, in one pass. */
export function smallest(
  items: readonly number[],
  count: number,
  key: (item: number) => number,
): number[] {
  const kept: number[] = [];
  const keys: number[] = [];
  for (const item of items) {
    const k = key(item);
    if (kept.length === count && k >= (keys[count - 1] as number)) continue;
    let at = kept.length;
    while (at > 0 && (keys[at - 1] as number) > k) at--;
    kept.splice(at, 0, item);
    keys.splice(at, 0, k);
    if (kept.length > count) {
      kept.pop();
      keys.pop();
    }
  }
  return kept;
}
