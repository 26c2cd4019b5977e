/** Finding a catalogue entry by any of its names, and proposing one when there is none. */

interface Named {
  readonly name: string;
  readonly aliases?: readonly string[];
}

/** Lower case, without organisation, vendor prefix and tuning suffix: names that mean the same shape compare equal. */
export function normalName(name: string): string {
  const last = name
    .slice(name.lastIndexOf("/") + 1)
    .toLowerCase()
    .replace(/[\s_]+/g, "-");
  let short = last.replace(/^(meta|nvidia|amd)-/, "");
  let before: string;
  do {
    before = short;
    short = short.replace(/-(instruct|chat|hf|it|base|awq|gptq|fp8|sxm|sxm4|sxm5|0724|2507)$/, "");
  } while (short !== before);
  return short;
}

/** Index from every normal name and alias to its entry. The first entry that claims a name keeps it. */
export function nameIndex<T extends Named>(entries: readonly T[]): ReadonlyMap<string, T> {
  const index = new Map<string, T>();
  for (const entry of entries)
    for (const name of [entry.name, ...(entry.aliases ?? [])]) {
      const key = normalName(name);
      if (!index.has(key)) index.set(key, entry);
    }
  return index;
}

/** The nearest of `known` to `name` by edit distance, or null when none is near. */
export function nearestName(name: string, known: Iterable<string>): string | null {
  const wanted = normalName(name);
  let best: string | null = null;
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, normalName(candidate));
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Levenshtein distance. O(length of a x length of b). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
