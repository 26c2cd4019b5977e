import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import {
  adamwStep,
  addInplace,
  conv2dDirect,
  Graph,
  GraphAllocator,
  GuardedMemory,
  getRowsBack,
  HostMemory,
  im2col,
  im2colBack,
  liveHandles,
  loadGgml,
  mulMat,
  newTensor,
  PlannedGraph,
  pointAt,
  pool2d,
  pool2dBack,
  readF32,
  repeatBack,
  rmsNormBack,
  siluBack,
  softMaxBack,
  type Tensor,
  TensorArena,
  TensorBuffer,
  ThreadPool,
  workBytes,
  writeInside,
  writeTensor,
} from "../index.ts";

const { library, cpu } = loadGgml();
const random = (n: number, seed: number): Float32Array => {
  const rng = new Rng(seed);
  return Float32Array.from({ length: n }, () => rng.normal());
};
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((s, v, i) => s + v * b[i]!, 0);

function compute(
  build: (arena: TensorArena, input: (ne: readonly number[], v: Float32Array) => Tensor) => Tensor,
) {
  using arena = new TensorArena(library, { tensors: 32, graphCapacity: 32 });
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

test("columns and their gradient are adjoint: <columns(x), c> = <x, back(c)>", () => {
  const at = { stride: [2, 1], pad: [1, 0] } as const;
  const w = random(3 * 2 * 2 * 1, 1);
  const x = random(7 * 5 * 2 * 3, 2);
  const columns = compute((a, input) =>
    im2col(a, input([3, 2, 2, 1], w), input([7, 5, 2, 3], x), at),
  );
  const c = random(columns.length, 3);
  const back = compute((a, input) =>
    im2colBack(a, input([3, 2, 2, 1], w), input([12, 4, 4, 3], c), [7, 5, 2, 3], at),
  );
  expect(dot(columns, c)).toBeCloseTo(dot(x, back), 3);
});

test("a maximum's gradient goes where the maximum was", () => {
  const at = { stride: [2, 1], pad: [0, 0] } as const;
  const x = random(6 * 4 * 2, 4);
  const y = compute((a, input) => pool2d(a, input([6, 4, 2], x), "max", [2, 3], at));
  const dy = random(y.length, 5);
  const dx = compute((a, input) =>
    pool2dBack(a, input([3, 2, 2], dy), input([6, 4, 2], x), "max", [2, 3], at),
  );
  expect(dot(dx, x)).toBeCloseTo(dot(dy, y), 4);
});

test("operands that ggml would abort on are refused", () => {
  using arena = new TensorArena(library, { tensors: 32, graphCapacity: 32 });
  const f = (...ne: number[]): Tensor => newTensor(arena, "f32", ne);
  const at = { stride: [1, 1], pad: [0, 0] } as const;
  const refused = (build: () => unknown): void =>
    expect(build).toThrowError(expect.objectContaining({ code: "GGML_SHAPE" }));
  refused(() => im2col(arena, f(3, 3, 2, 1), f(7, 5, 3, 1), at));
  refused(() => im2col(arena, f(9, 9, 3, 1), f(7, 5, 3, 1), at));
  refused(() => conv2dDirect(arena, f(3, 3, 2, 4), f(5, 5, 3, 1), at));
  refused(() => pool2d(arena, f(5, 5), "max", [2, 2], { stride: [1, 0], pad: [0, 0] }));
  refused(() => repeatBack(arena, f(5, 5), f(2, 5)));
  refused(() => getRowsBack(arena, f(4, 3), newTensor(arena, "i32", [2]), f(4, 9)));
  refused(() => siluBack(arena, f(4), f(5)));
  refused(() => rmsNormBack(arena, f(4), f(5), 1e-5));
  refused(() => softMaxBack(arena, f(4), f(5), 1));
  refused(() => addInplace(arena, f(4), f(3)));
  refused(() => adamwStep(arena, f(4), f(4), f(4), f(4), f(6)));
  refused(() => writeInside(mulMat(arena, f(4, 2), f(4, 2)), f(3), 0, [4, 8, 16, 16]));
});

test("a planned graph computes in memory of the caller's, its work area included", () => {
  using pool = new ThreadPool(library, 1);
  using arena = new TensorArena(library, { tensors: 8, graphCapacity: 8 });
  const memory = new HostMemory(1 << 12);
  using buffer = TensorBuffer.overHost(library, memory);
  const graph = new Graph(arena);
  const a = newTensor(arena, "f32", [4, 2]);
  const b = newTensor(arena, "f32", [4, 1]);
  const c = graph.expand(mulMat(arena, a, b));
  expect(workBytes(graph, 1)).toBe(0);
  for (const [i, t] of [a, b, c].entries())
    pointAt(t, memory.address + BigInt(i * 256), buffer.address);
  memory.f32(0, 8).set([1, 2, 3, 4, 5, 6, 7, 8]);
  memory.f32(256, 4).set([1, 0, 0, 1]);
  new PlannedGraph(graph, pool, 0n).compute();
  expect([...memory.f32(512, 2)]).toEqual([5, 13]);
});

test("guarded memory ends where it says: one byte further ends the process", () => {
  const script = `
    import { GuardedMemory } from "${new URL("../index.ts", import.meta.url).href}";
    import { memoryView } from "@millrace/system";
    const memory = new GuardedMemory(64 * 3);
    memory.view(0, 192).fill(7);
    if (!memory.guarded) process.exit(3);
    new Uint8Array(memoryView(memory.address, 256))[192 + Number(process.argv[1])] = 1;
    process.exit(0);`;
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const run = (past: number) =>
    spawnSync(
      process.execPath,
      [
        "--conditions=millrace:source",
        "--import",
        tsx,
        "--input-type=module",
        "-e",
        script,
        "--",
        String(past),
      ],
      { cwd: new URL("..", import.meta.url) },
    );
  const inside = run(-1);
  if (inside.status === 3) return;
  expect(inside.status).toBe(0);
  expect(run(0).signal).toBe("SIGSEGV");
  expect(() => new GuardedMemory(100)).toThrow(/guarded memory of 100 bytes/);
  expect(Object.fromEntries(liveHandles())).toEqual({});
});
