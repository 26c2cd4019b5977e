import {
  add,
  cpy,
  HostMemory,
  loadGgml,
  relu,
  TensorBuffer,
  ThreadPool,
  view,
} from "@millrace/ggml";
import { afterAll, expect, test } from "vitest";
import { Kernel, type KernelBuild } from "./kernel.ts";

const { library } = loadGgml();
const pool = new ThreadPool(library, 1);
afterAll(() => pool[Symbol.dispose]());

const row = { type: "f32", ne: [4] } as const;
const table = { type: "f32", ne: [4, 6] } as const;

/** Computes y, six rows of four, from x and one row w. */
function run(build: KernelBuild): number[] {
  const shapes = new Map(Object.entries({ w: row, x: table, y: table }));
  using kernel = Kernel.build(library, pool, shapes, build);
  const memory = new HostMemory(4096);
  using buffer = TensorBuffer.overHost(library, memory);
  const floats = new Float32Array(memory.u64().buffer, memory.u64().byteOffset, 1024);
  floats.set([-1, 0, 1, 2]);
  for (let i = 0; i < 24; i++) floats[64 + i] = i;
  const base = Number(memory.address);
  const place = {
    operands: Float64Array.of(base, base + 256, base + 512),
    workspace: base + 1024,
    buffer: buffer.address,
  };
  for (let again = 0; again < 2; again++) {
    floats.fill(-7, 128, 152);
    kernel.run(place);
  }
  return [...floats.subarray(128, 152)];
}

test("what is repeated finds its operands moved on and what was held where it was, every time", () => {
  const y = run((k) => {
    const [x, target] = [k.operand("x"), k.operand("y")];
    const w = k.hold(relu(k.arena, k.operand("w")));
    const rows = (first: number, n: number) => (from: typeof x) =>
      view(k.arena, from, [4, n], [16], 16 * first);
    const sum = (first: number, n: number): void => {
      const at = rows(first, n);
      const out = add(k.arena, at(x), w);
      k.run(cpy(k.arena, out, at(target)));
    };
    // Two rows twice, and the rest.
    k.repeat(
      2,
      new Map([
        [x, 32],
        [target, 32],
      ]),
      () => {
        sum(0, 1);
        sum(1, 1);
      },
    );
    sum(4, 2);
  });
  expect(y).toEqual(Array.from({ length: 24 }, (_, i) => i + [0, 0, 1, 2][i % 4]!));
});

test("what one part computes and another uses without holding it is refused", () => {
  expect(() =>
    run((k) => {
      const w = relu(k.arena, k.operand("w"));
      k.run(w);
      const x = k.operand("x");
      k.repeat(6, new Map([[x, 16]]), () => {
        k.run(add(k.arena, view(k.arena, x, [4, 1], [16], 0), w));
      });
      k.into("y", relu(k.arena, x));
    }),
  ).toThrow(/UNARY of one part of a kernel is not held/);
});
