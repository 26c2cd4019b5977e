/**
 * Convolutions whose channels are grouped, depthwise ones above all: plane by plane, in bands of rows that fit a tile.
 * Planes of [W, H, N, C] are contiguous. The input's gradient is a convolution too: of the output's gradient, spread by the
 * stride, with the window turned by half a circle.
 */
import type { Across } from "@millrace/ggml";
import { floatsOf, type Operands, roundUp } from "./host.ts";
import { places, tileElements, tileMemory } from "./memory.ts";

/** Sizes of a grouped convolution; extents are [width, height]. */
export interface GroupedConvolution {
  readonly from: Across;
  readonly to: Across;
  readonly images: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly kernel: Across;
  readonly stride: Across;
  readonly padding: Across;
}

/** A window over padded planes: [width, height] of what goes in and comes out. */
interface Window {
  readonly from: Across;
  readonly to: Across;
  readonly kernel: Across;
  readonly stride: Across;
  /** Columns and rows before the plane's first. */
  readonly padding: Across;
  /** Distance of the plane's columns and rows in the padded plane: above 1, zeros lie between. */
  readonly spread: Across;
}

/** Rows of padded planes and results in their tiles. */
class Band {
  readonly window: Window;
  /** Elements of a padded row and of a row of the result. */
  readonly xw: number;
  readonly yw: number;
  /** Rows of the result in a band. */
  readonly rows: number;

  constructor(window: Window) {
    const { to, kernel, stride } = window;
    this.window = window;
    this.yw = roundUp(to[0], 4);
    // The last four results of a row load up to eight elements from their place.
    this.xw = this.yw * stride[0] + kernel[0] + 8;
    const fit = Math.floor((tileElements / this.xw - kernel[1]) / stride[1]) + 1;
    this.rows = Math.max(1, Math.min(to[1], fit, Math.floor(tileElements / this.yw)));
    tileMemory().floats(places.first, tileElements).fill(0);
  }

  /** Padded rows under the results [first, first + n) of the plane that begins at element `at`. */
  load(values: Float32Array, at: number, first: number, n: number): void {
    const { floats } = tileMemory();
    const { from, kernel, stride, padding, spread } = this.window;
    const [width, height] = from;
    const rows = (n - 1) * stride[1] + kernel[1];
    for (let r = 0; r < rows; r++) {
      const place = first * stride[1] + r - padding[1];
      const row = floats(places.first + 4 * r * this.xw, this.xw);
      const source = place / spread[1];
      if (source < 0 || source >= height || !Number.isInteger(source)) {
        row.fill(0);
        continue;
      }
      const start = at + source * width;
      if (spread[0] === 1) row.set(values.subarray(start, start + width), padding[0]);
      else
        for (let i = 0; i < width; i++)
          row[padding[0] + i * spread[0]] = values[start + i] as number;
    }
  }

  /** Results [first, first + n) of a plane to or from their tile; columns past the plane are zeros there. */
  results(
    values: Float32Array,
    at: number,
    first: number,
    n: number,
    direction: "in" | "out",
  ): void {
    const { floats } = tileMemory();
    const [width] = this.window.to;
    for (let r = 0; r < n; r++) {
      const start = at + (first + r) * width;
      const row = floats(places.second + 4 * r * this.yw, this.yw);
      if (direction === "out") values.set(row.subarray(0, width), start);
      else {
        row.set(values.subarray(start, start + width));
        row.fill(0, width);
      }
    }
  }

  /** Calls `body` with the first row and the rows of each band. */
  each(body: (first: number, n: number) => void): void {
    const height = this.window.to[1];
    for (let first = 0; first < height; first += this.rows)
      body(first, Math.min(this.rows, height - first));
  }
}

const areaOf = ([w, h]: Across): number => w * h;

/** target's planes = the sums over the group of planes of `source` under `taps(out channel, position in the group)`. */
function convolve(
  source: Float32Array,
  target: Float32Array,
  window: Window,
  sizes: {
    readonly images: number;
    readonly groups: number;
    readonly outs: number;
    readonly ins: number;
  },
  taps: (out: number, position: number, into: Float32Array) => void,
): void {
  const { planes, floats } = tileMemory();
  const band = new Band(window);
  const { images, groups, outs, ins } = sizes;
  const [kw, kh] = window.kernel;
  const w = floats(places.third, kw * kh);
  for (let m = 0; m < outs; m++) {
    const begin = Math.floor(m / (outs / groups)) * (ins / groups);
    for (let image = 0; image < images; image++)
      band.each((first, n) => {
        floats(places.second, n * band.yw).fill(0);
        for (let position = 0; position < ins / groups; position++) {
          taps(m, position, w);
          const plane = ((begin + position) * images + image) * areaOf(window.from);
          band.load(source, plane, first, n);
          planes.plane_forward(
            ...([places.first, places.third, places.second, band.yw, n, band.xw, kw, kh] as const),
            ...window.stride,
          );
        }
        band.results(target, (m * images + image) * areaOf(window.to), first, n, "out");
      });
  }
}

function forwardWindow({ from, to, kernel, stride, padding }: GroupedConvolution): Window {
  return { from, to, kernel, stride, padding, spread: [1, 1] };
}

/** y = x0 convolved with w0 [kw, kh, in / groups, out], plus w1 [out] where it is there; x is read under `x`. */
export function groupedForward(operands: Operands, x: string, g: GroupedConvolution): void {
  const y = floatsOf(operands, "y");
  const weights = floatsOf(operands, "w0");
  const inside = g.inChannels / g.groups;
  const area = areaOf(g.kernel);
  convolve(
    floatsOf(operands, x),
    y,
    forwardWindow(g),
    { images: g.images, groups: g.groups, outs: g.outChannels, ins: g.inChannels },
    (m, position, into) => {
      const at = (m * inside + position) * area;
      into.set(weights.subarray(at, at + area));
    },
  );
  if (!operands.has("w1")) return;
  const n = y.length / g.outChannels;
  floatsOf(operands, "w1").forEach((bias, m) => {
    for (let i = m * n; i < (m + 1) * n; i++) y[i] = (y[i] as number) + bias;
  });
}

/** dx0 from dy: its planes, spread by the stride, under the turned windows of the channels that read them. */
export function groupedInput(operands: Operands, g: GroupedConvolution): void {
  const weights = floatsOf(operands, "w0");
  const inside = g.inChannels / g.groups;
  const outside = g.outChannels / g.groups;
  const area = areaOf(g.kernel);
  convolve(
    floatsOf(operands, "dy"),
    floatsOf(operands, "dx0"),
    {
      from: g.to,
      to: g.from,
      kernel: g.kernel,
      stride: [1, 1],
      padding: [g.kernel[0] - 1 - g.padding[0], g.kernel[1] - 1 - g.padding[1]],
      spread: g.stride,
    },
    { images: g.images, groups: g.groups, outs: g.inChannels, ins: g.outChannels },
    (c, position, into) => {
      const out = Math.floor(c / inside) * outside + position;
      const at = (out * inside + (c % inside)) * area;
      for (let tap = 0; tap < area; tap++) into[tap] = weights[at + area - 1 - tap] as number;
    },
  );
}

/** dw0 and dw1 from x and dy. */
export function groupedWeights(operands: Operands, x: string, g: GroupedConvolution): void {
  const { planes, floats } = tileMemory();
  const source = floatsOf(operands, x);
  const dy = floatsOf(operands, "dy");
  const dw = floatsOf(operands, "dw0");
  const inside = g.inChannels / g.groups;
  const area = areaOf(g.kernel);
  const band = new Band(forwardWindow(g));
  const sums = floats(places.third, area);
  for (let m = 0; m < g.outChannels; m++)
    for (let position = 0; position < inside; position++) {
      const channel = Math.floor(m / (g.outChannels / g.groups)) * inside + position;
      sums.fill(0);
      for (let image = 0; image < g.images; image++)
        band.each((first, n) => {
          band.load(source, (channel * g.images + image) * areaOf(g.from), first, n);
          band.results(dy, (m * g.images + image) * areaOf(g.to), first, n, "in");
          planes.plane_weights(
            ...([places.first, places.second, places.third, band.yw, n, band.xw] as const),
            ...g.kernel,
            ...g.stride,
          );
        });
      dw.set(sums, (m * inside + position) * area);
    }
  if (!operands.has("dw1")) return;
  const biases = floatsOf(operands, "dw1");
  const n = dy.length / g.outChannels;
  for (let m = 0; m < g.outChannels; m++) {
    let sum = 0;
    for (let i = m * n; i < (m + 1) * n; i++) sum += dy[i] as number;
    biases[m] = sum;
  }
}

/** Whether planes of these sizes fit the tiles: a row with its window, at least. */
export function groupedFits({ from, to, kernel, stride, padding }: GroupedConvolution): boolean {
  const widest = Math.max(from[0], to[0]) + 12;
  return (
    padding[0] < kernel[0] &&
    padding[1] < kernel[1] &&
    (widest * stride[0] + kernel[0] + 8) * kernel[1] <= tileElements
  );
}
