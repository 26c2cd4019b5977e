/**
 * Who keeps what: a pure function of the data set and the list of members, so that every process knows it without asking.
 * Rendezvous hashing with weights (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005): an item belongs to
 * the member with the best score for it, members win items in proportion to the bytes they offer, and taking a member
 * away moves its items alone.
 */
import { hash128, MillraceError } from "@millrace/core";
import type { Source } from "../source/source.ts";

/** A member as ownership sees it. */
export interface MemberShare {
  /** The same on every server; an item's owner depends on it. */
  readonly name: string;
  /** Bytes that the member offers for this data set, keys and values. */
  readonly bytes: number;
}

/** What an entry costs a store beside the value: key, header, table (measured on Redis 7: 96 to 120 bytes). */
export const entryOverheadBytes = 128;

/**
 * Bytes of one of n members that are alike, so that hashing leaves none full while others have room: an even share, five
 * standard deviations of what falls to it, and a twentieth. O(items).
 */
export function evenBytes(source: Source, members: number): number {
  let bytes = 0;
  let squares = 0;
  for (let item = 0; item < source.length; item++) {
    const cost = source.extent(item).bytes + entryOverheadBytes;
    bytes += cost;
    squares += cost ** 2;
  }
  const share = 1 / members;
  return Math.ceil(1.05 * bytes * share + 5 * Math.sqrt(squares * share * (1 - share)));
}

/** No member keeps the item. */
export const nobody = 0xffff;

/** Owner by item. */
export interface Ownership {
  /** Index of the member, or `nobody`. */
  readonly owner: Uint16Array;
  /** Items and bytes per member, overhead included; never above what it offers. */
  readonly items: readonly number[];
  readonly bytes: readonly number[];
}

/** One 32-bit word that depends on all bits of four (the finalizer of MurmurHash3 between xors). */
function mix(a: number, b: number, c: number, d: number): number {
  let h = a;
  for (const word of [b, c, d]) {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= (h >>> 16) ^ word;
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Assigns every item. A member keeps its items in the order of the data set until its bytes are full; what comes after
 * stays uncached for good, so that the set of cached items never changes (MinIO over servers). Throws MillraceError
 * CONFIG_INVALID for no members, two of one name, or a negative size. O(items × members).
 */
export function assignOwners(source: Source, members: readonly MemberShare[]): Ownership {
  if (members.length === 0 || members.length >= nobody)
    throw new MillraceError("CONFIG_INVALID", `a cache over ${members.length} members`);
  const names = new Set(members.map(({ name }) => name));
  if (names.size !== members.length)
    throw new MillraceError("CONFIG_INVALID", "two members of the cache have one name", {
      hint: "name every server once",
    });
  for (const { name, bytes } of members)
    if (!(bytes >= 0) || !Number.isFinite(bytes))
      throw new MillraceError("CONFIG_INVALID", `${name} offers ${bytes} bytes`);
  const words = members.map(({ name }) => hash128(name));
  const owner = new Uint16Array(source.length).fill(nobody);
  const items = members.map(() => 0);
  const used = members.map(() => 0);
  for (let item = 0; item < source.length; item++) {
    const [a, b] = source.key(item);
    let best = -1;
    let bestScore = Number.POSITIVE_INFINITY;
    for (let m = 0; m < members.length; m++) {
      const [c, d] = words[m] as readonly [number, number, number, number];
      // An exponential draw with the member's bytes as rate: the least of them is the member's with that probability.
      const uniform = (mix(a, b, c, d) + 0.5) / 2 ** 32;
      const score = -Math.log(uniform) / (members[m] as MemberShare).bytes;
      if (score < bestScore) {
        best = m;
        bestScore = score;
      }
    }
    if (best < 0) continue;
    const cost = source.extent(item).bytes + entryOverheadBytes;
    if ((used[best] as number) + cost > (members[best] as MemberShare).bytes) continue;
    owner[item] = best;
    items[best] = (items[best] as number) + 1;
    used[best] = (used[best] as number) + cost;
  }
  return { owner, items, bytes: used };
}
