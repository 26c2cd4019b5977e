/**
 * Bilinear enlargement of planes by a whole factor, and its gradient. Centres of pixels lie at halves (PyTorch's
 * align_corners=False, ONNX's half_pixel), so that the border repeats its outermost pixels.
 */
import { floatsOf, type Operands } from "./host.ts";

/** Between which two pixels of a line each enlarged one lies, and how near to the second. */
interface Taps {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly share: Float32Array;
}

function tapsOf(n: number, scale: number): Taps {
  const first = new Int32Array(n * scale);
  const second = new Int32Array(n * scale);
  const share = new Float32Array(n * scale);
  for (let i = 0; i < first.length; i++) {
    const place = Math.max(0, (i + 0.5) / scale - 0.5);
    first[i] = Math.floor(place);
    second[i] = Math.min(n - 1, Math.floor(place) + 1);
    share[i] = place - Math.floor(place);
  }
  return { first, second, share };
}

/** Calls `body` for each enlarged row with the elements where it and the two rows it lies between begin. */
function eachRow(
  planes: number,
  [w, h]: readonly [number, number],
  scale: number,
  body: (out: number, upper: number, lower: number, share: number) => void,
): void {
  const { first, second, share } = tapsOf(h, scale);
  for (let plane = 0; plane < planes; plane++)
    for (let y = 0; y < h * scale; y++)
      body(
        (plane * h * scale + y) * w * scale,
        (plane * h + (first[y] as number)) * w,
        (plane * h + (second[y] as number)) * w,
        share[y] as number,
      );
}

/** y = x0 enlarged; planes of x0 are w x h. */
export function enlarge(operands: Operands, size: readonly [number, number], scale: number): void {
  const [x, y] = [floatsOf(operands, "x0"), floatsOf(operands, "y")];
  const [w, h] = size;
  const { first, second, share } = tapsOf(w, scale);
  const row = new Float32Array(w);
  eachRow(x.length / (w * h), size, scale, (out, upper, lower, down) => {
    for (let i = 0; i < w; i++)
      row[i] = (1 - down) * (x[upper + i] as number) + down * (x[lower + i] as number);
    for (let i = 0; i < first.length; i++) {
      const across = share[i] as number;
      y[out + i] =
        (1 - across) * (row[first[i] as number] as number) +
        across * (row[second[i] as number] as number);
    }
  });
}

/** dx0 from dy: each element's gradient goes to the four it was made of. */
export function enlargeBackward(
  operands: Operands,
  size: readonly [number, number],
  scale: number,
): void {
  const [dx, dy] = [floatsOf(operands, "dx0"), floatsOf(operands, "dy")];
  const [w, h] = size;
  const { first, second, share } = tapsOf(w, scale);
  const row = new Float32Array(w);
  dx.fill(0);
  eachRow(dx.length / (w * h), size, scale, (out, upper, lower, down) => {
    row.fill(0);
    for (let i = 0; i < first.length; i++) {
      const [across, d] = [share[i] as number, dy[out + i] as number];
      const [a, b] = [first[i] as number, second[i] as number];
      row[a] = (row[a] as number) + (1 - across) * d;
      row[b] = (row[b] as number) + across * d;
    }
    for (let i = 0; i < w; i++) {
      const d = row[i] as number;
      dx[upper + i] = (dx[upper + i] as number) + (1 - down) * d;
      dx[lower + i] = (dx[lower + i] as number) + down * d;
    }
  });
}
