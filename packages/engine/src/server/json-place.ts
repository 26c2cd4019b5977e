/** Places and nesting of what clients send. */

/** `line L, column C`, both from 1. */
export function placeOf(source: string, index: number): string {
  const before = source.slice(0, index).split("\n");
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

/** Arrays and objects that may stand inside each other in what a client sends. */
export const deepestNesting = 100;

/** Whether arrays and objects stand in each other more than `limit` deep. */
export function deeperThan(value: unknown, limit: number): boolean {
  let level: object[] = typeof value === "object" && value !== null ? [value] : [];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > limit) return true;
    const next: object[] = [];
    for (const node of level) {
      const inner = Array.isArray(node) ? node : Object.values(node);
      for (const one of inner) if (typeof one === "object" && one !== null) next.push(one);
    }
    level = next;
  }
  return false;
}
