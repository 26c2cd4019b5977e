/** Batch norm over channels of [W, H, N, C], each a row: forward in two passes, gradients from the input or the output. */
import { MillraceError } from "@millrace/core";
import { eachTile, floatsOf, gradientOf, type Operands, Row, roundUp } from "./host.ts";
import { places, tileMemory } from "./memory.ts";

/** Rows of so few elements are computed in double precision: their gradients are differences of nearly equal numbers. */
const few = 64;

/** Mean and mean square deviation of a row of n elements. */
function moments(row: Row, place: number, n: number): readonly [mean: number, variance: number] {
  const { kernels, floats } = tileMemory();
  if (n <= few) {
    row.hold(0, n);
    const values = floats(place, n);
    const mean = values.reduce((total, x) => total + x, 0) / n;
    return [mean, values.reduce((total, x) => total + (x - mean) ** 2, 0) / n];
  }
  let sum = 0;
  eachTile(n, (first, size) => {
    row.hold(first, size);
    // A padded tail would count as zeros of the sum, which changes nothing.
    sum += kernels.sum(place, roundUp(size, 4));
  });
  const mean = sum / n;
  let squares = 0;
  eachTile(n, (first, size) => {
    row.hold(first, size);
    const all = roundUp(size, 4);
    // The padding's zeros deviate by the mean.
    squares += kernels.product(place, place, all, mean, mean) - (all - size) * mean * mean;
  });
  return [mean, squares / n];
}

/** What batch norm is applied to: extents [W, H, N, C], and what is added to the variance. */
export interface BatchNormShape {
  readonly ne: readonly number[];
  readonly epsilon: number;
}

/**
 * y = w0 (x - mean) / sqrt(variance + epsilon) + w1 for each channel; statistics of the batch. `from` names x, which is y
 * where the operator works in place. 1 / sqrt(variance + epsilon) goes to a, f32 [C], where a is there; means and variances
 * go to s, f32 [2 C].
 */
export function batchNormForward(
  operands: Operands,
  from: "x0" | "y",
  { ne, epsilon }: BatchNormShape,
): void {
  const x = new Row(floatsOf(operands, from), places.first);
  const y = floatsOf(operands, "y");
  const scale = floatsOf(operands, "w0");
  const shift = floatsOf(operands, "w1");
  const kept = operands.has("a") ? floatsOf(operands, "a") : null;
  const statistics = floatsOf(operands, "s");
  const channels = ne[3] as number;
  const n = y.length / channels;
  for (let c = 0; c < channels; c++) {
    x.begin(c * n);
    const [mean, variance] = moments(x, places.first, n);
    const inverse = 1 / Math.sqrt(variance + epsilon);
    if (kept !== null) kept[c] = inverse;
    statistics[c] = mean;
    statistics[channels + c] = variance;
    affine(
      x,
      y.subarray(c * n, (c + 1) * n),
      (scale[c] as number) * inverse,
      mean,
      shift[c] as number,
    );
  }
}

/** y = p (x - mean) + r for a row: centred first, since the mean may be large beside the deviations. */
function affine(x: Row, y: Float32Array, p: number, mean: number, r: number): void {
  const { kernels, floats } = tileMemory();
  const { first: from, second: to } = places;
  eachTile(y.length, (first, size) => {
    x.hold(first, size);
    kernels.combine(from, from, to, roundUp(size, 4), p, mean, 0, 0, r);
    y.set(floats(to, size), first);
  });
}

/** y = w0 (x0 - mean) / sqrt(variance + epsilon) + w1 with the means and variances of s, f32 [2 C]. */
export function batchNormInference(operands: Operands, { ne, epsilon }: BatchNormShape): void {
  const x = new Row(floatsOf(operands, "x0"), places.first);
  const y = floatsOf(operands, "y");
  const statistics = floatsOf(operands, "s");
  const [scale, shift] = [floatsOf(operands, "w0"), floatsOf(operands, "w1")];
  const channels = ne[3] as number;
  const n = y.length / channels;
  for (let c = 0; c < channels; c++) {
    x.begin(c * n);
    const p = (scale[c] as number) / Math.sqrt((statistics[channels + c] as number) + epsilon);
    const row = y.subarray(c * n, (c + 1) * n);
    affine(x, row, p, statistics[c] as number, shift[c] as number);
  }
}

/**
 * Brings running statistics nearer to those of a batch by `momentum`: f32 [2 C] each, means, then variances, which are those
 * of a sample of `n` elements a channel in the running ones (as PyTorch keeps them).
 */
export function blendStatistics(
  running: Float32Array,
  batch: Float32Array,
  momentum: number,
  n: number,
): void {
  const channels = running.length / 2;
  for (let i = 0; i < running.length; i++) {
    const value = (batch[i] as number) * (i < channels ? 1 : n / Math.max(1, n - 1));
    running[i] = (1 - momentum) * (running[i] as number) + momentum * value;
  }
}

/** What the gradients of a channel follow from: dy times (v - centre) times `unit` is dy x̂, and the factor of dy in dx. */
interface ChannelScale {
  readonly centre: number;
  readonly unit: number;
  readonly inverse: number;
}

/**
 * Gradients of batch norm: dw1 = Σ dy, dw0 = Σ dy x̂, dx = w0 / σ (dy - mean(dy) - x̂ mean(dy x̂)), in the form
 * p (dy - mean) + q (v - centre), where x̂ follows from v, the input or the output.
 */
function normGradients(
  operands: Operands,
  from: "x0" | "y",
  channels: number,
  scaleOf: (c: number, row: Row, n: number) => ChannelScale,
): void {
  const { kernels, floats } = tileMemory();
  const v = new Row(floatsOf(operands, from), places.first);
  const gradient = floatsOf(operands, "dy");
  const dy = new Row(gradient, places.second);
  const dx = gradientOf(operands);
  const scale = floatsOf(operands, "w0");
  const dScale = floatsOf(operands, "dw0");
  const dShift = floatsOf(operands, "dw1");
  const n = gradient.length / channels;
  for (let c = 0; c < channels; c++) {
    v.begin(c * n);
    dy.begin(c * n);
    const { centre, unit, inverse } = scaleOf(c, v, n);
    const p = (scale[c] as number) * inverse;
    if (n <= few) {
      v.hold(0, n);
      dy.hold(0, n);
      const [values, gradients] = [floats(places.first, n), floats(places.second, n)];
      const total = gradients.reduce((all, d) => all + d, 0);
      const crossed = gradients.reduce(
        (all, d, i) => all + d * ((values[i] as number) - centre),
        0,
      );
      dShift[c] = total;
      dScale[c] = crossed * unit;
      const [mean, slope] = [total / n, (unit * unit * crossed) / n];
      for (let i = 0; i < n; i++)
        dx[c * n + i] =
          p * ((gradients[i] as number) - mean - slope * ((values[i] as number) - centre));
      continue;
    }
    let sum = 0;
    let products = 0;
    eachTile(n, (first, size) => {
      v.hold(first, size);
      dy.hold(first, size);
      const all = roundUp(size, 4);
      sum += kernels.sum(places.second, all);
      products += kernels.product(places.second, places.first, all, 0, centre);
    });
    dShift[c] = sum;
    dScale[c] = products * unit;
    const q = (-p * unit * unit * products) / n;
    const mean = sum / n;
    eachTile(n, (first, size) => {
      v.hold(first, size);
      dy.hold(first, size);
      const all = roundUp(size, 4);
      kernels.combine(places.second, places.first, places.third, all, p, mean, q, centre, 0);
      dx.set(floats(places.third, size), c * n + first);
    });
  }
}

/** Gradients from the input x0, whose statistics are computed again. */
export function batchNormBackward(operands: Operands, { ne, epsilon }: BatchNormShape): void {
  normGradients(operands, "x0", ne[3] as number, (_, row, n) => {
    const [mean, variance] = moments(row, places.first, n);
    const inverse = 1 / Math.sqrt(variance + epsilon);
    return { centre: mean, unit: inverse, inverse };
  });
}

/**
 * Gradients from the output y and the deviations' inverses a: x̂ = (y - w1) / w0, so that they are as exact as w0 is large
 * beside w1. Throws MODEL_UNSUPPORTED where a weight is 0, since y then says nothing of x.
 */
export function batchNormBackwardFromOutput(operands: Operands, { ne }: BatchNormShape): void {
  const kept = floatsOf(operands, "a");
  const scale = floatsOf(operands, "w0");
  const shift = floatsOf(operands, "w1");
  normGradients(operands, "y", ne[3] as number, (c) => {
    const weight = scale[c] as number;
    if (weight === 0)
      throw new MillraceError(
        "MODEL_UNSUPPORTED",
        `a batch norm's weight is 0 in channel ${c}: its gradient does not follow from its output`,
        { hint: "give the run a larger budget, so that the plan keeps the input" },
      );
    return { centre: shift[c] as number, unit: 1 / weight, inverse: kept[c] as number };
  });
}
