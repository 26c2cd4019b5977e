import { Rng } from "@millrace/core";
import { windowedExtents } from "@millrace/ggml";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  batchNormBackward,
  batchNormBackwardFromOutput,
  batchNormForward,
  batchNormInference,
  blendStatistics,
} from "./batch-norm.ts";
import {
  clampBackward,
  clampForward,
  dropout,
  geluBackward,
  geluForward,
  maskBackward,
  maskForward,
  poolBackward,
  poolForward,
  sumOfSquares,
} from "./host.ts";
import { tileElements } from "./memory.ts";

const bytes = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const operands = (values: Record<string, Float32Array | Uint8Array>) =>
  new Map(
    Object.entries(values).map(([name, v]) => [name, v instanceof Float32Array ? bytes(v) : v]),
  );
const random = (n: number, seed: number | string): Float32Array => {
  const rng = new Rng(seed);
  return Float32Array.from({ length: n }, () => rng.normal());
};
/** Sizes around the borders of words, vectors and tiles. */
const sizes = [1, 3, 31, 32, 33, 1000, tileElements, tileElements + 5];

describe.each(sizes)("of %i elements", (n) => {
  test("a ReLU's mask is its sign, and takes gradients back", () => {
    const x = random(n, n);
    const [y, dx, a] = [new Float32Array(n), new Float32Array(n), new Uint8Array(Math.ceil(n / 8))];
    maskForward(operands({ x0: x, y, a }), "x0", Number.POSITIVE_INFINITY);
    const dy = random(n, "dy");
    maskBackward(operands({ dy, a, dx0: dx }));
    for (let i = 0; i < n; i++) {
      if (y[i] !== Math.max(x[i]!, 0)) throw new Error(`y[${i}]`);
      if (dx[i] !== (x[i]! > 0 ? dy[i] : 0)) throw new Error(`dx[${i}]`);
    }
    const own = x.slice();
    maskForward(operands({ y: own, a }), "y", Number.POSITIVE_INFINITY);
    expect(own).toEqual(y);
  });

  test("ReLU6 cuts at both ends, and takes gradients back from its output and its mask alike", () => {
    const x = random(n, n).map((v) => 4 * v);
    const [y, a] = [new Float32Array(n), new Uint8Array(Math.ceil(n / 8))];
    maskForward(operands({ x0: x, y, a }), "x0", 6);
    const own = x.slice();
    clampForward(operands({ y: own }), "y", 6);
    expect(own).toEqual(y);
    const [dy, dx, other] = [random(n, "dy"), new Float32Array(n), new Float32Array(n)];
    maskBackward(operands({ dy, a, dx0: dx }));
    clampBackward(operands({ y, dy, dx0: other }), 6);
    expect(other).toEqual(dx);
    for (let i = 0; i < n; i++) {
      if (y[i] !== Math.min(Math.max(x[i]!, 0), 6)) throw new Error(`y[${i}]`);
      if (dx[i] !== (x[i]! > 0 && x[i]! < 6 ? dy[i] : 0)) throw new Error(`dx[${i}]`);
    }
  });

  test("GELU and its gradient are the formula's", () => {
    const x = random(n, n).map((v) => 3 * v);
    const [y, dx, dy] = [new Float32Array(n), new Float32Array(n), random(n, "dy")];
    geluForward(operands({ x0: x, y }));
    geluBackward(operands({ x0: x, dy, dx0: dx }));
    const gelu = (v: number): number =>
      0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
    for (let i = 0; i < n; i++) {
      const v = x[i]!;
      const slope = (gelu(v + 1e-4) - gelu(v - 1e-4)) / 2e-4;
      if (!(Math.abs(y[i]! - gelu(v)) < 2e-6 * (1 + Math.abs(v)))) throw new Error(`y at ${v}`);
      if (!(Math.abs(dx[i]! - dy[i]! * slope) < 2e-5 * (1 + Math.abs(dy[i]!))))
        throw new Error(`dx at ${v}: ${dx[i]} for ${dy[i]! * slope}`);
    }
  });

  test("dropout drops the same elements again, and others in another step or operator", () => {
    const x = new Float32Array(n).fill(2);
    const draw = (step: number, operator: number): Float32Array => {
      const y = new Float32Array(n);
      dropout(operands({ x0: x, y }), "x0", "y", 0.25, { seed: 9, step, operator });
      return y;
    };
    const first = draw(4, 1);
    expect(draw(4, 1)).toEqual(first);
    expect(first.every((v) => v === 0 || Math.abs(v - 2 / 0.75) < 1e-6)).toBe(true);
    if (n < 1000) return;
    const share = first.reduce((sum, v) => sum + (v === 0 ? 1 : 0), 0) / n;
    expect(Math.abs(share - 0.25)).toBeLessThan(4 / Math.sqrt(n));
    for (const other of [draw(5, 1), draw(4, 2)]) {
      const both = other.reduce((sum, v, i) => sum + (v === 0 && first[i] === 0 ? 1 : 0), 0) / n;
      expect(Math.abs(both - 0.0625)).toBeLessThan(4 / Math.sqrt(n));
    }
  });

  test("batch norm has mean and variance of its weights, and its gradient is orthogonal to both", () => {
    const channels = 2;
    const all = n * channels;
    const x = random(all, n).map((v) => 5 + 2 * v);
    const [y, dx, dy] = [new Float32Array(all), new Float32Array(all), random(all, "dy")];
    const [w0, w1] = [Float32Array.of(1.5, -0.5), Float32Array.of(0.25, 1)];
    const [dw0, dw1] = [new Float32Array(2), new Float32Array(2)];
    const ne = [n, 1, 1, channels];
    const a = new Float32Array(channels);
    const s = new Float32Array(2 * channels);
    batchNormForward(operands({ x0: x, y, w0, w1, a, s }), "x0", { ne, epsilon: 1e-5 });
    const shape = { ne, epsilon: 1e-5 };
    batchNormBackward(operands({ x0: x, dy, dx0: dx, w0, dw0, dw1 }), shape);
    const own = x.slice();
    batchNormForward(operands({ y: own, w0, w1, s }), "y", shape);
    expect(own).toEqual(y);
    const later = new Float32Array(all);
    batchNormInference(operands({ x0: x, y: later, w0, w1, s }), shape);
    later.forEach((v, i) => {
      if (!(Math.abs(v - y[i]!) < 1e-4)) throw new Error(`y[${i}] ${v} for ${y[i]}`);
    });
    for (let c = 0; c < channels; c++) {
      const rows = (v: Float32Array): Float32Array => v.subarray(c * n, c * n + n);
      const mean = rows(x).reduce((s, v) => s + v, 0) / n;
      const variance = rows(x).reduce((s, v) => s + (v - mean) ** 2, 0) / n;
      expect(s[c]).toBeCloseTo(mean, 4);
      expect(s[channels + c]).toBeCloseTo(variance, 3);
      const unit = Array.from(rows(x), (v) => (v - mean) / Math.sqrt(variance + 1e-5));
      unit.forEach((u, i) => {
        expect(rows(y)[i]).toBeCloseTo(w0[c]! * u + w1[c]!, 3);
      });
      const sum = rows(dy).reduce((s, v) => s + v, 0);
      const products = rows(dy).reduce((s, v, i) => s + v * unit[i]!, 0);
      const tolerance = 2e-4 * n;
      expect(Math.abs(dw1[c]! - sum)).toBeLessThan(tolerance);
      expect(Math.abs(dw0[c]! - products)).toBeLessThan(tolerance);
      const deviation = Math.sqrt(variance + 1e-5);
      rows(dx).forEach((d, i) => {
        const exact = (w0[c]! / deviation) * (rows(dy)[i]! - sum / n - (unit[i]! * products) / n);
        if (!(Math.abs(d - exact) < 1e-3)) throw new Error(`dx[${c}, ${i}] ${d} for ${exact}`);
      });
    }
  });

  test("batch norm's gradients from its output are those from its input", () => {
    const x = random(2 * n, n);
    const shape = { ne: [n, 1, 1, 2], epsilon: 1e-5 };
    const [w0, w1, a] = [Float32Array.of(1.5, -0.5), Float32Array.of(0.25, 1), new Float32Array(2)];
    const [y, dy] = [new Float32Array(2 * n), random(2 * n, "dy")];
    const s = new Float32Array(4);
    batchNormForward(operands({ x0: x, y, w0, w1, a, s }), "x0", shape);
    const make = () => ({
      dx0: new Float32Array(2 * n),
      dw0: new Float32Array(2),
      dw1: new Float32Array(2),
    });
    const [input, output] = [make(), make()];
    batchNormBackward(operands({ x0: x, dy, w0, ...input }), shape);
    batchNormBackwardFromOutput(operands({ y, a, dy, w0, w1, ...output }), shape);
    expect(output.dw1).toEqual(input.dw1);
    for (let c = 0; c < 2; c++)
      expect(Math.abs(output.dw0[c]! - input.dw0[c]!)).toBeLessThan(1e-5 * (n + 1));
    input.dx0.forEach((d, i) => {
      if (!(Math.abs(output.dx0[i]! - d) < 1e-4))
        throw new Error(`dx[${i}] ${output.dx0[i]} for ${d}`);
    });
    const zero = operands({ y, a, dy, w0: new Float32Array(2), w1, ...output });
    expect(() => batchNormBackwardFromOutput(zero, shape)).toThrow(/weight is 0 in channel 0/);
  });

  test("sums of squares see every element", () => {
    const x = random(n, n);
    const exact = x.reduce((sum, v) => sum + v * v, 0);
    expect(Math.abs(sumOfSquares(x) / exact - 1)).toBeLessThan(1e-4);
    x[n - 1] = Number.NaN;
    expect(sumOfSquares(x)).toBeNaN();
  });
});

test("pooling keeps which element was the greatest", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: 9 }),
      fc.integer({ min: 3, max: 9 }),
      fc.constantFrom([2, 2, 0], [3, 2, 1], [3, 1, 1], [4, 3, 2]),
      fc.constantFrom([2, 2, 0], [3, 2, 1], [4, 3, 2]),
      (w, h, along, down) => {
        const both = (i: number): [number, number] => [along[i]!, down[i]!];
        const [kernel, at] = [both(0), { stride: both(1), pad: both(2) }];
        const [ow, oh] = windowedExtents([w, h], kernel, at);
        if (ow < 1 || oh < 1) return;
        const planes = 3;
        const x = random(w * h * planes, `${w}x${h}`);
        const y = new Float32Array(ow * oh * planes);
        const a = new Uint8Array(Math.ceil(y.length / 2));
        poolForward(operands({ x0: x, y, a }), [w, h], [ow, oh], kernel, at);
        const dy = random(y.length, "dy");
        const dx = new Float32Array(x.length);
        poolBackward(operands({ dy, dx0: dx, a }), [w, h], [ow, oh], kernel, at);
        // Each output's gradient goes where the output came from: weighted sums agree.
        const flow = dx.reduce((sum, d, i) => sum + d * x[i]!, 0);
        const wanted = dy.reduce((sum, d, i) => sum + d * y[i]!, 0);
        expect(flow).toBeCloseTo(wanted, 3);
      },
    ),
    { numRuns: 30 },
  );
});

test("running statistics are a moving average, variances those of a sample", () => {
  const running = Float32Array.of(0, 1);
  blendStatistics(running, Float32Array.of(2, 3), 0.1, 4);
  expect(running[0]).toBeCloseTo(0.2, 6);
  expect(running[1]).toBeCloseTo(0.9 + 0.1 * 4, 6);
  for (let i = 0; i < 200; i++) blendStatistics(running, Float32Array.of(2, 3), 0.1, 4);
  expect(running[0]).toBeCloseTo(2, 4);
  expect(running[1]).toBeCloseTo(4, 4);
});
