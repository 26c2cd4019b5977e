/**
 * Start-up self-test: the layouts that this package reads and writes by offset, and one product computed through all of
 * it, are compared with what they must be before anything else runs. Another version of the libraries is refused here
 * instead of corrupting memory later.
 */
import { MillraceError } from "@millrace/core";
import { TensorArena } from "../arena.ts";
import { readF32, writeTensor } from "../device/buffer.ts";
import { Device } from "../device/device.ts";
import { GraphAllocator } from "../device/graph-allocator.ts";
import { Graph } from "../graph.ts";
import { newTensor } from "../ops/create.ts";
import { mulMat } from "../ops/linear.ts";
import { permute, view } from "../ops/shape.ts";
import type { Tensor } from "../tensor.ts";
import { tensorOverhead, tensorStruct } from "../tensor-struct.ts";
import { tensorTypes } from "../types.ts";
import type { NativeLibrary } from "./library.ts";

function mismatch(what: string, found: unknown, expected: unknown): never {
  throw new MillraceError(
    "GGML_ABI_MISMATCH",
    `the ggml libraries do not fit: ${what} is ${String(found)}, expected ${String(expected)}`,
    { hint: "use the libraries of llama.cpp v0.5.0 (@node-llama-cpp packages 3.22.1)" },
  );
}

function expect(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) mismatch(what, found, expected);
}

function checkStruct(what: string, t: Tensor): void {
  const at = (offset: number) => t.arena.field(t, offset);
  expect(`type of ${what}`, Number(at(tensorStruct.type) & 0xffffffffn), tensorTypes[t.type][0]);
  for (let i = 0; i < 4; i++) {
    expect(`ne[${i}] of ${what}`, Number(at(tensorStruct.ne + 8 * i)), t.ne[i]);
    expect(`nb[${i}] of ${what}`, Number(at(tensorStruct.nb + 8 * i)), t.nb[i]);
  }
}

function checkLayouts(library: NativeLibrary): void {
  using arena = new TensorArena(library, { tensors: 8 });
  const plain = newTensor(arena, "f16", [7, 5, 3, 2]);
  checkStruct("a tensor", plain);
  expect("buffer of a new tensor", arena.field(plain, tensorStruct.buffer), 0n);
  expect("data of a new tensor", arena.field(plain, tensorStruct.data), 0n);
  const part = view(arena, plain, [4, 5, 3], [14, 70], 4);
  checkStruct("a view", part);
  expect("view source", arena.field(part, tensorStruct.viewSrc), plain.address);
  expect("view offset", arena.field(part, tensorStruct.viewOffs), 4n);
  expect("source of a view", arena.field(part, tensorStruct.src), plain.address);
  const moved = permute(arena, part, [0, 2, 1, 3]);
  checkStruct("a permuted view", moved);
  expect("distance of tensors", Number(moved.address - part.address), tensorOverhead);
}

function checkProduct(library: NativeLibrary): void {
  const cpu = new Device(library, library.cpuDevice);
  using backend = cpu.open();
  using arena = new TensorArena(library, { tensors: 4, graphCapacity: 8 });
  using allocator = new GraphAllocator(cpu.bufferType);
  const graph = new Graph(arena);
  const a = newTensor(arena, "f32", [2, 2]);
  const b = newTensor(arena, "f32", [2, 1]);
  const c = graph.expand(mulMat(arena, a, b));
  allocator.allocate(graph);
  writeTensor(a, new Float32Array([1, 2, 3, 4]));
  writeTensor(b, new Float32Array([10, 100]));
  backend.compute(graph);
  expect("the product (1 2; 3 4)·(10 100)", readF32(c).join(), "210,430");
}

/** Throws GGML_ABI_MISMATCH unless the libraries have the layouts and behaviour of the version this package is written for. */
export function selfTest(library: NativeLibrary): void {
  const { base } = library;
  expect("the size of a tensor with its header", base.ggml_tensor_overhead(), tensorOverhead);
  for (const [name, [id, elements, bytes]] of Object.entries(tensorTypes)) {
    expect(`elements per block of ${name}`, base.ggml_blck_size(id), elements);
    expect(`bytes per block of ${name}`, base.ggml_type_size(id), bytes);
  }
  checkLayouts(library);
  checkProduct(library);
}
