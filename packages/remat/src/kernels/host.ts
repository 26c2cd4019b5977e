/**
 * Operators that run on the host beside ggml: one-bit ReLU masks and four-bit pool indices (MONeT section 4.3, Gist), GELU
 * and its gradient, dropout whose mask follows from a counter. Operands are the bytes of f32
 * tensors, aligned to 64; they may be one and the same where an operator works in place.
 */
import { hash128, InvariantError } from "@millrace/core";
import type { Across, Sliding } from "@millrace/ggml";
import { places, tileElements, tileMemory } from "./memory.ts";

/** Bytes by operand name. */
export type Operands = ReadonlyMap<string, Uint8Array>;

function bytesOf(operands: Operands, name: string): Uint8Array {
  const bytes = operands.get(name);
  if (bytes === undefined) throw new InvariantError(`a host kernel has no operand ${name}`);
  return bytes;
}

export function floatsOf(operands: Operands, name: string): Float32Array {
  const bytes = bytesOf(operands, name);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
}

/** The gradient to write: dx0, or dy itself where the operator works in place. */
export function gradientOf(operands: Operands): Float32Array {
  return floatsOf(operands, operands.has("dx0") ? "dx0" : "dy");
}

export const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Calls `body` with first element and size of each tile of n elements. */
export function eachTile(n: number, body: (first: number, size: number) => void): void {
  for (let first = 0; first < n; first += tileElements)
    body(first, Math.min(tileElements, n - first));
}

/** y = x cut to 0 … limit and a = the bits 0 < x < limit; `from` names x, which is y where the operator works in place. */
export function maskForward(operands: Operands, from: string, limit: number): void {
  const { kernels, floats, bytes } = tileMemory();
  const x = floatsOf(operands, from);
  const y = floatsOf(operands, "y");
  const a = bytesOf(operands, "a");
  eachTile(x.length, (first, n) => {
    floats(places.first, n).set(x.subarray(first, first + n));
    kernels.mask_forward(places.first, places.second, places.mask, roundUp(n, 32), limit);
    y.set(floats(places.second, n), first);
    a.set(bytes(places.mask, Math.ceil(n / 8)), first / 8);
  });
}

/** y = x cut to 0 … limit; `from` names x, which is y where the operator works in place. */
export function clampForward(operands: Operands, from: string, limit: number): void {
  const { kernels, floats } = tileMemory();
  const x = floatsOf(operands, from);
  const y = floatsOf(operands, "y");
  eachTile(x.length, (first, n) => {
    floats(places.first, n).set(x.subarray(first, first + n));
    kernels.clamp(places.first, places.second, roundUp(n, 4), limit);
    y.set(floats(places.second, n), first);
  });
}

/** dx = dy where 0 < y < limit, else 0. */
export function clampBackward(operands: Operands, limit: number): void {
  const { kernels, floats } = tileMemory();
  const y = floatsOf(operands, "y");
  const dy = floatsOf(operands, "dy");
  const dx = gradientOf(operands);
  eachTile(y.length, (first, n) => {
    floats(places.first, n).set(y.subarray(first, first + n));
    floats(places.second, n).set(dy.subarray(first, first + n));
    const all = roundUp(n, 4);
    kernels.clamp_backward(places.first, places.second, places.third, all, limit);
    dx.set(floats(places.third, n), first);
  });
}

/** dx = dy where the bit of a is set, else 0. */
export function maskBackward(operands: Operands): void {
  const { kernels, floats, bytes } = tileMemory();
  const dy = floatsOf(operands, "dy");
  const dx = gradientOf(operands);
  const a = bytesOf(operands, "a");
  eachTile(dy.length, (first, n) => {
    floats(places.first, n).set(dy.subarray(first, first + n));
    bytes(places.mask, Math.ceil(n / 8)).set(a.subarray(first / 8, first / 8 + Math.ceil(n / 8)));
    const all = roundUp(n, 32);
    kernels.mask_backward(places.first, places.mask, places.second, all, places.bits);
    dx.set(floats(places.second, n), first);
  });
}

/** y = gelu(x), the tanh form. */
export function geluForward(operands: Operands): void {
  const { kernels, floats } = tileMemory();
  const x = floatsOf(operands, "x0");
  const y = floatsOf(operands, "y");
  eachTile(x.length, (first, n) => {
    floats(places.first, n).set(x.subarray(first, first + n));
    kernels.gelu_forward(places.first, places.second, roundUp(n, 4));
    y.set(floats(places.second, n), first);
  });
}

/** dx = dy gelu'(x). */
export function geluBackward(operands: Operands): void {
  const { kernels, floats } = tileMemory();
  const x = floatsOf(operands, "x0");
  const dy = floatsOf(operands, "dy");
  const dx = gradientOf(operands);
  eachTile(x.length, (first, n) => {
    floats(places.first, n).set(x.subarray(first, first + n));
    floats(places.second, n).set(dy.subarray(first, first + n));
    kernels.gelu_backward(places.first, places.second, places.third, roundUp(n, 4));
    dx.set(floats(places.third, n), first);
  });
}

/** What a mask depends on beside the element's number. */
export interface DrawContext {
  readonly seed: number;
  readonly step: number;
  readonly operator: number;
}

/**
 * Zeroes elements with probability `rate` in [0, 1) and scales the others by 1 / (1 - rate). Element i of operator o in
 * step s draws from a hash of (seed, s, o, i): forward, recomputed forward and backward see one mask, which is never kept.
 */
export function dropout(
  operands: Operands,
  from: string,
  to: string,
  rate: number,
  { seed, step, operator }: DrawContext,
): void {
  const { kernels, floats } = tileMemory();
  const x = floatsOf(operands, from);
  const y = floatsOf(operands, to);
  const [key, second] = hash128(`dropout/${seed}/${step}/${operator}`);
  const threshold = Math.min(2 ** 32 - 1, Math.round((1 - rate) * 2 ** 32)) | 0;
  eachTile(x.length, (first, n) => {
    floats(places.first, n).set(x.subarray(first, first + n));
    kernels.dropout(
      places.first,
      places.second,
      roundUp(n, 4),
      first | 0,
      key | 0,
      second | 0,
      threshold,
      1 / (1 - rate),
      places.lanes,
    );
    y.set(floats(places.second, n), first);
  });
}

/** A row of an operand through the tiles: copied once when it fits one. */
export class Row {
  readonly #source: Float32Array;
  readonly #place: number;
  #at = 0;
  #held = -1;

  constructor(source: Float32Array, place: number) {
    this.#source = source;
    this.#place = place;
  }

  /** Begins the row at element `at`. */
  begin(at: number): void {
    this.#at = at;
    this.#held = -1;
  }

  /** Elements [first, first + n) of the row lie at the place; padded with zeros to a multiple of 4. */
  hold(first: number, n: number): void {
    if (this.#held === first) return;
    const tile = tileMemory().floats(this.#place, roundUp(n, 4));
    tile.set(this.#source.subarray(this.#at + first, this.#at + first + n));
    if (tile.length > n) tile.fill(0, n);
    this.#held = first;
  }
}

/** Sum of squares of a gradient; not finite when one of its numbers is not (ReLU hides a NaN from the loss). */
export function sumOfSquares(values: Float32Array): number {
  const { kernels } = tileMemory();
  const row = new Row(values, places.first);
  row.begin(0);
  let sum = 0;
  eachTile(values.length, (first, n) => {
    row.hold(first, n);
    sum += kernels.product(places.first, places.first, roundUp(n, 4), 0, 0);
  });
  return sum;
}

/** The window of `kernel` elements that starts at `at`, cut to [0, n). */
function windowOf(at: number, kernel: number, n: number): readonly [from: number, to: number] {
  return [Math.max(0, at), Math.min(n, at + kernel)];
}

/**
 * The greatest element of each window, and which one it is: four bits an output, so windows of at most 16 elements. Planes of
 * x are w x h, those of y ow x oh.
 */
export function poolForward(
  operands: Operands,
  from: readonly number[],
  to: readonly number[],
  [kw, kh]: Across,
  { stride, pad }: Sliding,
): void {
  const x = floatsOf(operands, "x0");
  const y = floatsOf(operands, "y");
  const a = bytesOf(operands, "a");
  const [w, h] = from as [number, number];
  const [ow, oh] = to as [number, number];
  let out = 0;
  for (let plane = 0; plane < x.length; plane += w * h)
    for (let oy = 0; oy < oh; oy++) {
      const top = oy * stride[1] - pad[1];
      const [y0, y1] = windowOf(top, kh, h);
      for (let ox = 0; ox < ow; ox++, out++) {
        const left = ox * stride[0] - pad[0];
        const [x0, x1] = windowOf(left, kw, w);
        let best = Number.NEGATIVE_INFINITY;
        let where = (y0 - top) * kw + (x0 - left);
        for (let iy = y0; iy < y1; iy++)
          for (let ix = x0, at = plane + iy * w + x0; ix < x1; ix++, at++) {
            const value = x[at] as number;
            // A value that is no number wins, so that it is seen.
            if (value <= best) continue;
            best = value;
            where = (iy - top) * kw + (ix - left);
          }
        y[out] = best;
        const byte = out >> 1;
        if ((out & 1) === 0) a[byte] = where;
        else a[byte] = (a[byte] as number) | (where << 4);
      }
    }
}

/** Adds each output's gradient to the place that its index names. */
export function poolBackward(
  operands: Operands,
  from: readonly number[],
  to: readonly number[],
  [kw]: Across,
  { stride, pad }: Sliding,
): void {
  const dy = floatsOf(operands, "dy");
  const dx = floatsOf(operands, "dx0");
  const a = bytesOf(operands, "a");
  const [w, h] = from as [number, number];
  const [ow, oh] = to as [number, number];
  dx.fill(0);
  let out = 0;
  for (let plane = 0; plane < dx.length; plane += w * h)
    for (let oy = 0; oy < oh; oy++)
      for (let ox = 0; ox < ow; ox++, out++) {
        const where = ((a[out >> 1] as number) >> (4 * (out & 1))) & 15;
        const iy = oy * stride[1] - pad[1] + Math.floor(where / kw);
        const ix = ox * stride[0] - pad[0] + (where % kw);
        const at = plane + iy * w + ix;
        dx[at] = (dx[at] as number) + (dy[out] as number);
      }
}
