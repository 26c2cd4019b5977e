/**
 * Weights of an antialiasing triangle filter, as PIL's and torchvision's bilinear resize have it: the support grows with
 * the factor of reduction, so that no source pixel is left out.
 */

/** One axis: for every output position, where its taps begin and their weights in units of 2^-14, which sum to 2^14. */
export interface Taps {
  /** Taps of every output position; unused ones have weight 0. */
  readonly count: number;
  readonly first: Int32Array;
  /** [outputs * count]. */
  readonly weights: Int16Array;
}

/**
 * Taps from `size` outputs over source positions from … from + length, none beyond it. `reach` outputs of the output
 * grid `total` from `skip` on are made: a centre crop of a resized image needs no others.
 */
export function triangleTaps(
  length: number,
  total: number,
  skip: number,
  size: number,
  mirrored: boolean,
): Taps {
  const scale = length / total;
  const support = Math.max(1, scale);
  const count = Math.min(length, Math.ceil(2 * support) + 1);
  const first = new Int32Array(size);
  const weights = new Int16Array(size * count);
  const raw = new Float64Array(count);
  for (let o = 0; o < size; o++) {
    const centre = (skip + o + 0.5) * scale;
    const low = Math.max(0, Math.floor(centre - support + 0.5));
    const high = Math.min(length, Math.floor(centre + support + 0.5), low + count);
    let sum = 0;
    for (let i = low; i < high; i++) {
      const w = Math.max(0, 1 - Math.abs((i + 0.5 - centre) / support));
      raw[i - low] = w;
      sum += w;
    }
    // The window is moved so that reading `count` taps stays inside.
    const start = Math.max(0, Math.min(low, length - count));
    const at = mirrored ? size - 1 - o : o;
    first[at] = start;
    let rest = 16384;
    let largest = low;
    for (let i = low; i < high; i++) {
      const w = Math.round(((raw[i - low] as number) / sum) * 16384);
      weights[at * count + i - start] = w;
      rest -= w;
      if ((raw[i - low] as number) > (raw[largest - low] as number)) largest = i;
    }
    const top = at * count + largest - start;
    weights[top] = (weights[top] as number) + rest;
  }
  return { count, first, weights };
}
