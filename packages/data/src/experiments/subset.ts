/** A part of a data set as a data set: experiments that measure rates need no more than some thousand items. */
import { hash128, InvariantError, Rng } from "@millrace/core";
import type { Source } from "../source/source.ts";

/** `count` items, drawn by the seed, in the order of the data set; the source itself when it has no more than that. */
export function subsetSource(source: Source, count: number, seed: number): Source {
  if (!(count >= 1)) throw new InvariantError(`a subset of ${count} items`);
  if (count >= source.length) return source;
  const all = Uint32Array.from({ length: source.length }, (_, i) => i);
  new Rng(`subset/${seed}`).shuffle(all);
  const chosen = all.slice(0, count).sort();
  const at = (item: number): number => {
    const index = chosen[item];
    if (index === undefined) throw new InvariantError(`item ${item} of ${count}`);
    return index;
  };
  let totalBytes = 0;
  for (let i = 0; i < count; i++) totalBytes += source.extent(at(i)).bytes;
  return {
    kind: source.kind,
    path: source.path,
    length: count,
    totalBytes,
    classes: source.classes,
    codec: source.codec,
    identity: hash128(`${source.identity} ${count} ${seed}`)
      .map((word) => word.toString(16).padStart(8, "0"))
      .join(""),
    extent: (item) => source.extent(at(item)),
    label: (item) => source.label(at(item)),
    name: (item) => source.name(at(item)),
    key: (item) => source.key(at(item)),
  };
}
