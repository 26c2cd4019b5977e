/**
 * Bands of labels by the norm of their vectors: half of all labels in the last one, a quarter before it, and so on. Inner products
 * favour long vectors, so lists are made within a band: the longest vectors are together, and a point need not look through
 * all short ones of a direction to find them.
 */
import type { LabelMatrix } from "../kernels/label-matrix.ts";

/** No band is made shorter than this by halving. */
export const leastBand = 16_384;

/** Labels by band, longest vectors first, each band ascending; labels of equal norm are in the same band, and no band is empty. */
export function bandsByNorm(
  vectors: LabelMatrix,
  removed?: ReadonlySet<number>,
  least = leastBand,
): Int32Array[] {
  const { labels, dim } = vectors;
  const squares = new Float32Array(labels);
  for (let label = 0; label < labels; label++) {
    const row = vectors.row(label);
    let square = 0;
    for (let j = 0; j < dim; j++) square += (row[j] as number) ** 2;
    // A number that is less than any square.
    squares[label] = removed?.has(label) === true ? -1 : square;
  }
  const sorted = squares.filter((square) => square >= 0).sort();
  const bounds: number[] = [];
  for (let size = sorted.length; Math.floor(size / 2) >= least; ) {
    size = Math.floor(size / 2);
    bounds.push(sorted[sorted.length - size] as number);
  }
  const bandOf = new Int8Array(labels).fill(-1);
  const sizes = new Int32Array(bounds.length + 1);
  for (let label = 0; label < labels; label++) {
    const square = squares[label] as number;
    if (!(square >= 0)) continue;
    let band = 0;
    while (band < bounds.length && square >= (bounds[band] as number)) band++;
    bandOf[label] = band;
    sizes[band] = (sizes[band] as number) + 1;
  }
  const bands = Array.from(sizes, (size) => new Int32Array(size));
  sizes.fill(0);
  for (let label = 0; label < labels; label++) {
    const band = bandOf[label] as number;
    if (band < 0) continue;
    const at = sizes[band] as number;
    sizes[band] = at + 1;
    (bands[band] as Int32Array)[at] = label;
  }
  return bands.reverse().filter((band) => band.length > 0);
}
