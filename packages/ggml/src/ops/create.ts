/** Tensors without an operation: inputs, weights, and names for memory that lies elsewhere. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import { checkShape, type Four, Tensor } from "../tensor.ts";
import { tensorStruct } from "../tensor-struct.ts";
import { blockBytes, type TensorType, typeId } from "../types.ts";

/** Extents with the missing ones 1. */
export function four(ne: readonly number[]): Four {
  if (ne.length === 0 || ne.length > 4) badOperands("shape", `1 to 4 extents, not ${ne.length}`);
  return [ne[0] as number, ne[1] ?? 1, ne[2] ?? 1, ne[3] ?? 1];
}

/** A tensor without data; an allocator, `TensorBuffer.place` or `pointAt` gives it some. */
export function newTensor(arena: TensorArena, type: TensorType, ne: readonly number[]): Tensor {
  const shape = four(ne);
  checkShape("tensor", type, shape);
  const context = arena.take("tensor");
  const { ggml_new_tensor_4d } = arena.library.base;
  return arena.wrap(
    ggml_new_tensor_4d(context, typeId(type), shape[0], shape[1], shape[2], shape[3]),
    type,
    shape,
  );
}

/**
 * A tensor over memory at `address` with strides `nb` (bytes; nb[0] is the block size). `buffer` is the address of the
 * TensorBuffer that covers the memory. The memory must stay while a graph that uses the tensor is computed.
 */
export function foreignTensor(
  arena: TensorArena,
  type: TensorType,
  ne: Four,
  nb: Four,
  address: bigint,
  buffer: bigint,
): Tensor {
  if (nb[0] !== blockBytes(type))
    badOperands(
      "foreign tensor",
      `the first stride of ${type} is ${blockBytes(type)}, not ${nb[0]}`,
    );
  for (const stride of nb)
    if (!Number.isSafeInteger(stride) || stride < 0)
      badOperands("foreign tensor", `strides are bytes >= 0, not [${nb.join(", ")}]`);
  if (address === 0n || buffer === 0n)
    badOperands("foreign tensor", "address and buffer are needed");
  const dense = newTensor(arena, type, ne);
  for (let i = 1; i < 4; i++)
    arena.setField(dense, tensorStruct.nb + 8 * i, BigInt(nb[i] as number));
  pointAt(dense, address, buffer);
  return new Tensor(arena, dense.address, type, ne, nb);
}

/** Gives a tensor the memory at `address`, covered by the buffer at `buffer`. */
export function pointAt(tensor: Tensor, address: bigint, buffer: bigint): void {
  tensor.arena.setField(tensor, tensorStruct.buffer, buffer);
  tensor.arena.setField(tensor, tensorStruct.data, address);
}

/** Where a tensor's data lies; 0 before it has any. */
export function dataAddress(tensor: Tensor): bigint {
  return tensor.arena.field(tensor, tensorStruct.data);
}

/** Makes the result of an operation lie inside `target`, `offset` bytes from its start: results side by side, no copy. */
export function placeInside(result: Tensor, target: Tensor, offset: number): void {
  if (!result.contiguous || result.type !== target.type)
    badOperands("placeInside", `${result} must be contiguous and of the type of ${target}`);
  if (!(offset >= 0 && offset + result.bytes <= target.bytes))
    badOperands("placeInside", `${result} at ${offset} passes the end of ${target}`);
  const viewed = target.arena.field(target, tensorStruct.viewSrc);
  if (viewed !== 0n) badOperands("placeInside", `${target} must not itself be a view`);
  result.arena.setField(result, tensorStruct.viewSrc, target.address);
  result.arena.setField(result, tensorStruct.viewOffs, BigInt(offset));
}

/** Marks a tensor as filled from outside before the computation: its memory is not shared with others before it is read. */
export function markInput(tensor: Tensor): Tensor {
  tensor.arena.library.base.ggml_set_input(tensor.address);
  return tensor;
}

/** Marks a result to be read after the computation: its memory is not reused. */
export function markOutput(tensor: Tensor): Tensor {
  tensor.arena.library.base.ggml_set_output(tensor.address);
  return tensor;
}
