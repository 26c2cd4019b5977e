/**
 * Sampling: from logits to a token. Nothing here knows sequences, batches or tensors. A token depends on its logits, the
 * request's parameters and history, and a random number that is a function of (seed, position) alone, so that it never
 * depends on batch mates, on chunk sizes or on how often a sequence was preempted.
 */

const m0 = 0xd2511f53;
const m1 = 0xcd9e8d57;
const w0 = 0x9e3779b9;
const w1 = 0xbb67ae85;

/** High 32 bits of the product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const middle = ah * bl + Math.floor((al * bl) / 0x10000);
  const low = (middle % 0x10000) + al * bh;
  return (ah * bh + Math.floor(middle / 0x10000) + Math.floor(low / 0x10000)) >>> 0;
}

/**
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): writes the four 32-bit words of block (c0 … c3) under the key
 * (k0, k1) into `out`. A pure function; about 0.1 us.
 */
export function philox(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
): void {
  let a = c0 >>> 0;
  let b = c1 >>> 0;
  let c = c2 >>> 0;
  let d = c3 >>> 0;
  let x = k0 >>> 0;
  let y = k1 >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(m0, a);
    const low0 = Math.imul(m0, a) >>> 0;
    const high1 = mulHigh(m1, c);
    const low1 = Math.imul(m1, c) >>> 0;
    a = (high1 ^ b ^ x) >>> 0;
    b = low1;
    c = (high0 ^ d ^ y) >>> 0;
    d = low0;
    x = (x + w0) >>> 0;
    y = (y + w1) >>> 0;
  }
  out[0] = a;
  out[1] = b;
  out[2] = c;
  out[3] = d;
}

const words = new Uint32Array(4);

/**
 * Uniform over [0, 1) with 53 bits, a function of its arguments alone: `seed` is a safe integer, `position` the token's
 * position in its sequence, `draw` tells several draws for one position apart.
 */
export function uniformAt(seed: number, position: number, draw: number): number {
  const high = Math.floor(seed / 0x100000000);
  philox(position, draw, 0, 0, seed >>> 0, high >>> 0, words);
  return ((words[0]! >>> 5) * 0x4000000 + (words[1]! >>> 6)) / 0x20000000000000;
}
