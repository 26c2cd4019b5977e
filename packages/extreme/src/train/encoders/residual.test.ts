import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { CsrBuilder } from "../../data/csr.ts";
import { floats, Heap } from "../../kernels/heap.ts";
import { createModel, encodeRows, type Model } from "../../model/model.ts";
import { defaultTrainOptions } from "../options.ts";
import { TrainingPoints } from "../points.ts";
import { ResidualEncoder } from "./residual.ts";

const [points, dim] = [6, 16];
const ids = Int32Array.from({ length: points }, (_, i) => i);

/** Each point has one feature of its own, so that the gradient of its bag is that of one row of E. */
function setUp() {
  const heap = new Heap();
  const x = new CsrBuilder(true);
  const y = new CsrBuilder(false);
  for (let i = 0; i < points; i++) {
    x.add(i, 1);
    y.add(0);
    x.endRow();
    y.endRow();
  }
  const split = { features: x.build(points), labels: y.build(8), filter: null };
  const training = new TrainingPoints(heap, split);
  const shape = { vocabulary: points, labels: 8, dim, encoder: "residual" as const };
  const model = createModel(heap, shape, -2, "residual");
  const rng = new Rng("up");
  const up = model.residual!.up.view;
  for (let i = 0; i < up.length; i++) up[i] = rng.normal(0, 0.3);
  const options = { ...defaultTrainOptions, dim, batch: 8, dropout: 0 };
  const slopes = Float32Array.from({ length: points * dim }, () => rng.normal());
  return {
    heap,
    model,
    training,
    encoder: new ResidualEncoder(heap, model, training, options),
    slopes,
  };
}

/** Σ slope · z over all points: its gradient by z is `slopes`. */
function loss(model: Model, training: TrainingPoints, slopes: Float32Array): number {
  const mark = model.heap.used;
  const z = floats(model.heap, points * dim);
  encodeRows(model, training.rows, ids, z);
  const sum = slopes.reduce((s, slope, i) => s + slope * z.view[i]!, 0);
  model.heap.release(mark);
  return sum;
}

test("vectors with and without training are the same, and gradients are those of finite differences", () => {
  const { heap, model, training, encoder, slopes } = setUp();
  const z = floats(heap, 8 * dim);
  const dz = floats(heap, 8 * dim);
  encoder.forward(ids, z, new Rng("none"));
  const plain = floats(heap, points * dim);
  encodeRows(model, training.rows, ids, plain);
  expect(z.view.slice(0, points * dim)).toEqual(plain.view);

  const numeric = (values: Float32Array, at: number): number => {
    const [was, h] = [values[at]!, 1e-3];
    values[at] = was + h;
    const more = loss(model, training, slopes);
    values[at] = was - h;
    const less = loss(model, training, slopes);
    values[at] = was;
    return (more - less) / (2 * h);
  };
  const { down, up } = model.residual!;
  const wanted = {
    embedding: Array.from(model.embedding.view, (_, i) => numeric(model.embedding.view, i)),
    down: Array.from(down.view, (_, i) => numeric(down.view, i)),
    up: Array.from(up.view, (_, i) => numeric(up.view, i)),
  };
  const before = { down: down.view.slice(), up: up.view.slice() };
  dz.view.set(slopes);
  const lr = 1e-3;
  encoder.backward(ids, z, dz, lr);

  // What is left in dz is the gradient of the bag. A kink within a difference may be off; few are.
  const off = wanted.embedding.filter((g, i) => Math.abs(g - dz.view[i]!) > 0.02).length;
  expect(off).toBeLessThan(6);
  expect(wanted.embedding.filter((g) => Math.abs(g) > 0.1).length).toBeGreaterThan(20);
  for (const name of ["down", "up"] as const) {
    const now = model.residual![name].view;
    let [dot, a, b] = [0, 0, 0];
    for (let row = 0; row < dim; row++) {
      // Row-wise Adagrad divides a row's gradient by its root mean square.
      const g = wanted[name].slice(row * dim, (row + 1) * dim);
      const rms = Math.sqrt(g.reduce((s, v) => s + v * v, 0) / dim + 1e-6);
      g.forEach((v, j) => {
        const step = now[row * dim + j]! - before[name][row * dim + j]!;
        const right = (-0.05 * lr * v) / rms;
        dot += step * right;
        a += step * step;
        b += right * right;
      });
    }
    expect(dot / Math.sqrt(a * b)).toBeGreaterThan(0.99);
    expect(Math.sqrt(a / b)).toBeCloseTo(1, 1);
  }
});
