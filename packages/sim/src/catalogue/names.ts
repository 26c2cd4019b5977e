/** Finding a catalogue entry by any of its names. */

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
