/**
 * Content hashes: the same value has the same hash on every machine, in Node and in browsers. Used as job ids and as
 * seeds of random streams. Not for secrets: MurmurHash3 (x86, 128 bits, Austin Appleby) is easy to collide on purpose.
 */
import { InvariantError } from "./errors.ts";

/** Four 32-bit words, unsigned. */
export type Words128 = readonly [number, number, number, number];

const c1 = 0x239b961b;
const c2 = 0xab0e9789;
const c3 = 0x38b34ae5;
const c4 = 0xa1e38b93;

const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

function finish(h: number): number {
  let x = h ^ (h >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/**
 * MurmurHash3 x86_128, seed 0, over the UTF-16 code units of `text` (two bytes each, little endian). Differs from the
 * reference in the last block, which is padded with zeros and mixed like the others. O(length).
 */
export function hash128(text: string): Words128 {
  let h1 = 0;
  let h2 = 0;
  let h3 = 0;
  let h4 = 0;
  const length = text.length;
  const word = (i: number): number =>
    (i < length ? text.charCodeAt(i) : 0) | ((i + 1 < length ? text.charCodeAt(i + 1) : 0) << 16);
  // The length mixed in after the loop tells padded texts apart.
  for (let i = 0; i < length; i += 8) {
    h1 ^= Math.imul(rotate(Math.imul(word(i), c1), 15), c2);
    h1 = (Math.imul(rotate(h1, 19) + h2, 5) + 0x561ccd1b) | 0;
    h2 ^= Math.imul(rotate(Math.imul(word(i + 2), c2), 16), c3);
    h2 = (Math.imul(rotate(h2, 17) + h3, 5) + 0x0bcaa747) | 0;
    h3 ^= Math.imul(rotate(Math.imul(word(i + 4), c3), 17), c4);
    h3 = (Math.imul(rotate(h3, 15) + h4, 5) + 0x96cd1c35) | 0;
    h4 ^= Math.imul(rotate(Math.imul(word(i + 6), c4), 18), c1);
    h4 = (Math.imul(rotate(h4, 13) + h1, 5) + 0x32ac3b17) | 0;
  }
  const bytes = length * 2;
  h1 ^= bytes;
  h2 ^= bytes;
  h3 ^= bytes;
  h4 ^= bytes;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = (h2 + h1) | 0;
  h3 = (h3 + h1) | 0;
  h4 = (h4 + h1) | 0;
  h1 = finish(h1);
  h2 = finish(h2);
  h3 = finish(h3);
  h4 = finish(h4);
  h1 = (h1 + h2 + h3 + h4) | 0;
  return [h1 >>> 0, (h2 + h1) >>> 0, (h3 + h1) >>> 0, (h4 + h1) >>> 0];
}

/**
 * JSON with sorted keys and no spaces. Keys whose value is undefined are left out; -0 is 0; non-finite numbers are
 * written as strings ("NaN"), so that they differ from null. Typed arrays are written as lists.
 * Throws InvariantError for functions, symbols, bigints and values that contain themselves.
 */
export function canonicalJson(value: unknown): string {
  return write(value, new Set());
}

function write(value: unknown, above: Set<object>): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean") return value ? "true" : "false";
  if (typeof value === "number")
    return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
  if (typeof value !== "object") throw new InvariantError(`cannot hash a ${typeof value}`);
  if (above.has(value)) throw new InvariantError("cannot hash a value that contains itself");
  above.add(value);
  let text: string;
  if (Array.isArray(value)) text = `[${value.map((v) => write(v, above)).join(",")}]`;
  else if (ArrayBuffer.isView(value) && Symbol.iterator in value)
    text = `[${Array.from(value as unknown as Iterable<number>, (v) => write(v, above)).join(",")}]`;
  else if ("toJSON" in value && typeof value.toJSON === "function")
    text = write(value.toJSON(), above);
  else {
    const fields = Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    text = `{${fields.map(([k, v]) => `${JSON.stringify(k)}:${write(v, above)}`).join(",")}}`;
  }
  above.delete(value);
  return text;
}

/** 32 hex digits that depend on the content alone, not on the order of keys. */
export function contentHash(value: unknown): string {
  return hash128(canonicalJson(value))
    .map((word) => word.toString(16).padStart(8, "0"))
    .join("");
}
