import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Rng } from "@millrace/core";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import {
  add,
  type Backend,
  dequantize,
  Graph,
  GraphAllocator,
  HostMemory,
  liveHandles,
  loadGgml,
  mulMat,
  newTensor,
  quantize,
  readF32,
  rmsNorm,
  Stencil,
  softMax,
  type Tensor,
  TensorArena,
  TensorBuffer,
  ThreadPool,
  writeTensor,
} from "./index.ts";

const ggml = loadGgml();
const { library, cpu } = ggml;

const alive = () => Object.fromEntries(liveHandles());
afterEach(() => expect(alive()).toEqual({}));

/** Computes one result from inputs, on a fresh arena. */
function compute(
  build: (
    arena: TensorArena,
    input: (ne: readonly number[], values: Float32Array) => Tensor,
  ) => Tensor,
): Float32Array {
  using arena = new TensorArena(library, { tensors: 64, graphCapacity: 64 });
  using allocator = new GraphAllocator(cpu.bufferType);
  using backend = cpu.open();
  const inputs: [Tensor, Float32Array][] = [];
  const graph = new Graph(arena);
  const result = graph.expand(
    build(arena, (ne, values) => {
      const tensor = newTensor(arena, "f32", ne);
      inputs.push([tensor, values]);
      return tensor;
    }),
  );
  allocator.allocate(graph);
  for (const [tensor, values] of inputs) writeTensor(tensor, values);
  backend.compute(graph);
  return readF32(result);
}

const randoms = (n: number, seed: number): Float32Array => {
  const rng = new Rng(seed);
  return Float32Array.from({ length: n }, () => 2 * rng.next() - 1);
};

test("the libraries of this machine load, with a CPU device and its version", () => {
  expect(ggml.version).toMatch(/^\d+\.\d+/);
  expect(cpu.kind).toBe("cpu");
  expect(ggml.devices.some((d) => d.kind === "cpu")).toBe(true);
  expect(loadGgml()).toBe(ggml);
});

test("products equal sums done by hand", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      (k, m, n) => {
        const a = randoms(k * m, 1);
        const b = randoms(k * n, 2);
        const c = compute((arena, input) => mulMat(arena, input([k, m], a), input([k, n], b)));
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let x = 0; x < k; x++) sum += a[i * k + x]! * b[j * k + x]!;
            expect(c[j * m + i]).toBeCloseTo(sum, 4);
          }
      },
    ),
    { numRuns: 20 },
  );
});

test("norm, softmax and addition equal their definitions", () => {
  const x = randoms(32, 3);
  const normed = compute((arena, input) => rmsNorm(arena, input([32], x), 1e-5));
  const rms = Math.sqrt(x.reduce((s, v) => s + v * v, 0) / 32 + 1e-5);
  normed.forEach((v, i) => {
    expect(v).toBeCloseTo(x[i]! / rms, 5);
  });
  const soft = compute((arena, input) => softMax(arena, input([32], x), null, 1));
  const sum = x.reduce((s, v) => s + Math.exp(v), 0);
  soft.forEach((v, i) => {
    expect(v).toBeCloseTo(Math.exp(x[i]!) / sum, 5);
  });
  const sums = compute((arena, input) => add(arena, input([32], x), input([32], normed)));
  sums.forEach((v, i) => {
    expect(v).toBeCloseTo(x[i]! + normed[i]!, 5);
  });
});

describe("bad operands are refused before ggml sees them", () => {
  const shape = (build: () => unknown): void => {
    expect(build).toThrowError(expect.objectContaining({ code: "GGML_SHAPE" }));
  };
  test("shapes, full arenas, stale handles", () => {
    using arena = new TensorArena(library, { tensors: 4, graphCapacity: 4 });
    const a = newTensor(arena, "f32", [4, 2]);
    shape(() => newTensor(arena, "f32", [0]));
    shape(() => newTensor(arena, "f32", [1.5]));
    shape(() => newTensor(arena, "q4_0", [33]));
    shape(() => newTensor(arena, "f32", [1 << 30, 1 << 30, 1 << 30]));
    shape(() => mulMat(arena, a, newTensor(arena, "f32", [5, 2])));
    newTensor(arena, "f32", [1]);
    newTensor(arena, "f32", [1]);
    shape(() => newTensor(arena, "f32", [1]));
    arena.reset();
    shape(() => add(arena, a, a));
    const c = newTensor(arena, "f32", [4]);
    shape(() => writeTensor(c, new Float32Array(4)));
    shape(() => writeTensor(c, new Float32Array(5)));
  });

  test("an arena is neither reset nor disposed while its graph is computed", async () => {
    using arena = new TensorArena(library, { tensors: 16, graphCapacity: 16 });
    using allocator = new GraphAllocator(cpu.bufferType);
    using backend = cpu.open();
    const graph = new Graph(arena);
    const a = newTensor(arena, "f32", [512, 512]);
    const b = newTensor(arena, "f32", [512, 512]);
    graph.expand(mulMat(arena, a, b));
    allocator.allocate(graph);
    const running = backend.computeAsync(graph);
    expect(() => arena.reset()).toThrow("while the arena's graph is computed");
    expect(() => backend.compute(graph)).toThrow("while a graph is computed");
    await running;
    arena.reset();
  });
});

test("an asynchronous computation leaves the event loop free and gives the same result", async () => {
  const n = 256;
  const [x, y] = [randoms(n * n, 5), randoms(n * n, 6)];
  const expected = compute((arena, input) => mulMat(arena, input([n, n], x), input([n, n], y)));
  using arena = new TensorArena(library, { tensors: 16, graphCapacity: 16 });
  using allocator = new GraphAllocator(cpu.bufferType);
  using pool = new ThreadPool(library, 2);
  using backend: Backend = cpu.open();
  backend.useThreadPool(pool);
  const graph = new Graph(arena);
  const a = newTensor(arena, "f32", [n, n]);
  const b = newTensor(arena, "f32", [n, n]);
  const c = graph.expand(mulMat(arena, a, b));
  allocator.allocate(graph);
  writeTensor(a, x);
  writeTensor(b, y);
  let turns = 0;
  const running = backend.computeAsync(graph).then(() => true);
  // The promise cannot settle before the event loop has turned.
  turns += await new Promise<number>((resolve) => setImmediate(() => resolve(1)));
  expect(await running).toBe(true);
  expect(turns).toBe(1);
  expect(readF32(c)).toEqual(expected);
});

test("memory of our own is computed on where it lies", () => {
  const memory = new HostMemory(4096);
  memory.f32().set([1, 2, 3, 4]);
  using buffer = TensorBuffer.overHost(library, memory);
  using weights = new TensorArena(library, { tensors: 1 });
  const w = newTensor(weights, "f32", [4]);
  buffer.place(w, 0);
  const twice = compute((arena) => add(arena, w, w));
  expect([...twice]).toEqual([2, 4, 6, 8]);
  expect(() => TensorBuffer.over(library, memory.address + 4n, 64, memory)).toThrow(
    "multiple of 32",
  );
});

test.each(["f16", "bf16", "q8_0", "q4_0", "q4_K", "q6_K"] as const)(
  "%s keeps values to its precision",
  (type) => {
    const values = randoms(512, 9);
    const back = dequantize(type, quantize(type, values, 256));
    const error = Math.sqrt(values.reduce((s, v, i) => s + (v - back[i]!) ** 2, 0) / 512);
    const bound = { f16: 3e-4, bf16: 3e-3, q8_0: 4e-3, q4_0: 0.06, q4_K: 0.05, q6_K: 0.015 }[type];
    expect(error).toBeLessThan(bound);
    expect(error).toBeGreaterThan(0);
  },
);

test("thousands of graphs, rebuilt and made anew, neither leak handles nor change results", () => {
  using arena = new TensorArena(library, { tensors: 8, graphCapacity: 16 });
  using allocator = new GraphAllocator(cpu.bufferType);
  using backend = cpu.open();
  const round = (a: TensorArena, seed: number): number => {
    const graph = new Graph(a);
    const x = newTensor(a, "f32", [8, 2]);
    const y = newTensor(a, "f32", [8, 1]);
    const z = graph.expand(mulMat(a, x, y));
    allocator.allocate(graph);
    const values = randoms(24, seed);
    writeTensor(x, values.subarray(0, 16));
    writeTensor(y, values.subarray(16));
    backend.compute(graph);
    return readF32(z)[0]!;
  };
  const first = Array.from({ length: 50 }, (_, i) => {
    arena.reset();
    return round(arena, i);
  });
  for (let i = 0; i < 2000; i++) {
    arena.reset();
    expect(round(arena, i % 50)).toBe(first[i % 50]);
  }
  for (let i = 0; i < 500; i++) {
    using own = new TensorArena(library, { tensors: 8, graphCapacity: 16 });
    expect(round(own, i % 50)).toBe(first[i % 50]);
  }
  expect(alive()).toEqual({ arena: 1, "graph allocator": 1, backend: 1 });
});

test("what can still be computed keeps its memory, whatever is collected meanwhile", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  using backend = cpu.open();
  const held: Disposable[] = [];
  const build = () => {
    const arena = new TensorArena(library, { tensors: 64, graphCapacity: 128 });
    const allocator = new GraphAllocator(cpu.bufferType);
    held.push(allocator);
    const graph = new Graph(arena);
    const x = newTensor(arena, "f32", [16, 4]);
    let sum = add(arena, x, x);
    for (let i = 0; i < 40; i++) sum = add(arena, sum, x);
    graph.expand(sum);
    allocator.allocate(graph);
    writeTensor(x, new Float32Array(64).fill(1));
    return { graph, sum };
  };
  for (let i = 0; i < 20; i++) {
    const { graph, sum } = build();
    collect();
    // Takes the place of what was collected.
    const others = Array.from({ length: 20 }, () => new Uint8Array(32_768).fill(255));
    backend.compute(graph);
    expect(readF32(sum)[63]).toBe(42);
    expect(others.length).toBe(20);
    sum.arena[Symbol.dispose]();
  }
  for (const part of held) part[Symbol.dispose]();
});

test("copies of a run of tensors compute with their own operands, one after the other", () => {
  using weights = new TensorArena(library, { tensors: 4 });
  const memories = [1, 10, 100, 1000].map((value) => {
    const memory = new HostMemory(64);
    memory.f32().fill(value);
    return memory;
  });
  const buffers = memories.map((memory) => TensorBuffer.overHost(library, memory));
  const terms = buffers.map((buffer) => {
    const term = newTensor(weights, "f32", [16]);
    buffer.place(term, 0);
    return term;
  });
  using arena = new TensorArena(library, { tensors: 8, copies: 6, graphCapacity: 64 });
  using allocator = new GraphAllocator(cpu.bufferType);
  using backend = cpu.open();
  for (let round = 0; round < 3; round++) {
    arena.reset();
    const graph = new Graph(arena);
    const start = newTensor(arena, "f32", [16]);
    // Each link doubles what came before and adds its term.
    const first = add(arena, start, start);
    const link = add(arena, first, terms[0]!);
    const stencil = new Stencil(arena, first, link, [start, terms[0]!]);
    let end = link;
    for (const term of terms.slice(1)) end = stencil.copy([end, term]).of(link);
    graph.expand(end);
    expect(() => stencil.copy([end, terms[0]!])).toThrow(/no room for copies/);
    allocator.allocate(graph);
    writeTensor(start, new Float32Array(16).fill(round));
    backend.compute(graph);
    expect(readF32(end)[15]).toBe(16 * round + 8 * 1 + 4 * 10 + 2 * 100 + 1000);
    if (round === 2) {
      arena.reset();
      expect(() => stencil.copy([start, terms[0]!])).toThrow(/earlier build/);
    }
  }
  for (const buffer of buffers) buffer[Symbol.dispose]();
});
