/**
 * Product codes: a vector as a few numbers of 4 bits, each naming one of 16 typical values of a few neighbouring coordinates, so
 * that a scan reads a sixteenth of the memory. Owns how typical values are found and how a vector is written in them.
 */

/** Typical values that a code can name. */
const values = 16;

/** 16 typical values for each run of `width` coordinates. */
export interface Codebooks {
  readonly dim: number;
  readonly width: number;
  /** dim / width × 16 × width. */
  readonly values: Float32Array;
}

const rounds = 8;

/** Lloyd's k-means over the runs of sampled vectors (rows of dim). The same rows give the same codebooks. */
export function trainCodebooks(rows: Float32Array, dim: number, width: number): Codebooks {
  const books = new Float32Array((dim / width) * values * width);
  const n = rows.length / dim;
  const sums = new Float32Array(values * width);
  const sizes = new Int32Array(values);
  for (let from = 0; from < dim; from += width) {
    const book = books.subarray(from * values, (from + width) * values);
    for (let c = 0; c < values; c++) {
      const row = Math.floor(((c + 0.5) * n) / values) * dim + from;
      book.set(rows.subarray(row, row + width), c * width);
    }
    for (let round = 0; round < rounds; round++) {
      sums.fill(0);
      sizes.fill(0);
      for (let i = 0; i < n; i++) {
        const at = i * dim + from;
        const c = nearest(book, width, rows, at);
        sizes[c] = (sizes[c] as number) + 1;
        for (let j = 0; j < width; j++)
          sums[c * width + j] = (sums[c * width + j] as number) + (rows[at + j] as number);
      }
      // A value that nothing is near to stays where it is.
      for (let c = 0; c < values; c++)
        if ((sizes[c] as number) > 0)
          for (let j = 0; j < width; j++)
            book[c * width + j] = (sums[c * width + j] as number) / (sizes[c] as number);
    }
  }
  return { dim, width, values: books };
}

/**
 * Writes the codes of the vector at `from` of `rows` to `out` (dim / width numbers below 16); the scale with which what they stand
 * for comes nearest to `rows` scaled back, in units of the given vector.
 */
export function encode(
  books: Codebooks,
  rows: Float32Array,
  from: number,
  out: Uint8Array,
): number {
  const { dim, width } = books;
  let [product, square] = [0, 0];
  for (let at = 0; at < dim; at += width) {
    const book = books.values.subarray(at * values, (at + width) * values);
    const c = nearest(book, width, rows, from + at);
    out[at / width] = c;
    for (let j = 0; j < width; j++) {
      const v = book[c * width + j] as number;
      product += v * (rows[from + at + j] as number);
      square += v * v;
    }
  }
  return square === 0 ? 0 : product / square;
}

function nearest(book: Float32Array, width: number, rows: Float32Array, at: number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let c = 0; c < values; c++) {
    let distance = 0;
    for (let j = 0; j < width; j++) {
      const gap = (book[c * width + j] as number) - (rows[at + j] as number);
      distance += gap * gap;
    }
    if (distance < least) {
      least = distance;
      best = c;
    }
  }
  return best;
}

/** Products of a vector and all typical values, dim / width × 16. */
export function products(
  books: Codebooks,
  vector: Float32Array,
  out: Float32Array = new Float32Array((books.dim / books.width) * values),
): Float32Array {
  const { dim, width } = books;
  let to = 0;
  for (let at = 0; at < dim; at += width)
    for (let c = 0; c < values; c++, to++) {
      let product = 0;
      for (let j = 0; j < width; j++)
        product += (books.values[to * width + j] as number) * (vector[at + j] as number);
      out[to] = product;
    }
  return out;
}

/**
 * Fills `bytes` (dim / width × 16, up to 127) with the products of a vector and all typical values, less the least of each run, all
 * in one unit: a score is base + step · sum of the bytes that a label's codes name. `scratch` has that size too.
 */
export function scoreTable(
  books: Codebooks,
  vector: Float32Array,
  scratch: Float32Array,
  bytes: Uint8Array,
): { readonly step: number; readonly base: number } {
  products(books, vector, scratch);
  let base = 0;
  let widest = 0;
  for (let first = 0; first < scratch.length; first += values) {
    let least = Number.POSITIVE_INFINITY;
    let most = Number.NEGATIVE_INFINITY;
    for (let c = first; c < first + values; c++) {
      const product = scratch[c] as number;
      if (product < least) least = product;
      if (product > most) most = product;
    }
    for (let c = first; c < first + values; c++) scratch[c] = (scratch[c] as number) - least;
    base += least;
    widest = Math.max(widest, most - least);
  }
  const scale = widest === 0 ? 0 : 127 / widest;
  for (let c = 0; c < scratch.length; c++) bytes[c] = (scratch[c] as number) * scale + 0.5;
  return { step: widest / 127, base };
}
