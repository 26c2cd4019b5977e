/** Views and copies: same elements, other shape, order or type. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import { checkShape, denseStrides, extentBytes, type Four, Tensor } from "../tensor.ts";
import { tensorStruct } from "../tensor-struct.ts";
import { blockBytes, isQuantized, rowBytes, type TensorType, typeId } from "../types.ts";
import { four } from "./create.ts";

/**
 * A part of `a`: extents `ne`, strides `nb` of dimensions 1 to 3 (bytes; those left out are without gaps), starting `offset`
 * bytes in. Throws GGML_SHAPE when it passes the end of `a`.
 */
export function view(
  arena: TensorArena,
  a: Tensor,
  ne: readonly number[],
  nb: readonly number[] = [],
  offset = 0,
): Tensor {
  const shape = four(ne);
  checkShape("view", a.type, shape);
  const n1 = nb[0] ?? rowBytes(a.type, shape[0]);
  const n2 = nb[1] ?? n1 * shape[1];
  const n3 = nb[2] ?? n2 * shape[2];
  const strides: Four = [blockBytes(a.type), n1, n2, n3];
  const span = extentBytes(a.type, shape, strides);
  const dense = rowBytes(a.type, shape[0]) * shape[1] * shape[2] * shape[3];
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % blockBytes(a.type) !== 0)
    badOperands("view", `offset ${offset} is not on a block of ${a}`);
  if (a.nb[0] !== blockBytes(a.type)) badOperands("view", `the first dimension of ${a} is strided`);
  if (dense > span) badOperands("view", `strides [${strides.join(", ")}] overlap`);
  if (offset + span > a.bytes)
    badOperands("view", `[${shape.join(", ")}] at byte ${offset} passes the end of ${a}`);
  const context = arena.take("view", a);
  return arena.wrap(
    arena.library.base.ggml_view_4d(context, a.address, ...shape, n1, n2, n3, offset),
    a.type,
    shape,
    strides,
  );
}

/** The elements of a contiguous tensor in another shape. */
export function reshape(arena: TensorArena, a: Tensor, ne: readonly number[]): Tensor {
  const shape = four(ne);
  checkShape("reshape", a.type, shape);
  if (!a.contiguous) badOperands("reshape", `${a} is not contiguous`);
  if (shape[0] * shape[1] * shape[2] * shape[3] !== a.elements)
    badOperands("reshape", `${a} does not hold [${shape.join(", ")}]`);
  const context = arena.take("reshape", a);
  return arena.wrap(
    arena.library.base.ggml_reshape_4d(context, a.address, ...shape),
    a.type,
    shape,
  );
}

/** Moves dimension i to place axes[i]; a view. */
export function permute(arena: TensorArena, a: Tensor, axes: Four): Tensor {
  if ([...axes].sort().join() !== "0,1,2,3")
    badOperands("permute", `[${axes.join(", ")}] is not an order of 0, 1, 2, 3`);
  const ne: [number, number, number, number] = [1, 1, 1, 1];
  const nb: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = 0; i < 4; i++) {
    ne[axes[i] as number] = a.ne[i] as number;
    nb[axes[i] as number] = a.nb[i] as number;
  }
  const context = arena.take("permute", a);
  return arena.wrap(arena.library.base.ggml_permute(context, a.address, ...axes), a.type, ne, nb);
}

/** A copy without gaps. */
export function cont(arena: TensorArena, a: Tensor): Tensor {
  if (isQuantized(a.type) && !a.contiguous)
    badOperands("cont", `${a} is quantised and not contiguous`);
  const context = arena.take("cont", a);
  return arena.wrap(arena.library.base.ggml_cont(context, a.address), a.type, a.ne);
}

const castable: readonly TensorType[] = ["f32", "f16", "bf16"];

function checkCopy(op: string, a: Tensor, type: TensorType): void {
  const plain = castable.includes(a.type) && castable.includes(type);
  const quantise = a.type === "f32" && isQuantized(type);
  const dequantise = isQuantized(a.type) && type === "f32";
  if (!(plain || quantise || dequantise || a.type === type))
    badOperands(op, `ggml does not convert ${a.type} to ${type}`);
  if ((quantise || dequantise) && !a.contiguous)
    badOperands(op, `${a} must be contiguous to be converted to ${type}`);
}

/** Copies `a` into `b` (as many elements; types may differ) and gives a view of `b`. */
export function cpy(arena: TensorArena, a: Tensor, b: Tensor): Tensor {
  if (a.elements !== b.elements) badOperands("cpy", `${a} does not fill ${b}`);
  checkCopy("cpy", a, b.type);
  if (isQuantized(b.type) && !b.contiguous) badOperands("cpy", `${b} must be contiguous`);
  const context = arena.take("cpy", a, b);
  return arena.wrap(arena.library.base.ggml_cpy(context, a.address, b.address), b.type, b.ne, b.nb);
}

/** A copy of another type. */
export function cast(arena: TensorArena, a: Tensor, type: TensorType): Tensor {
  checkShape("cast", type, a.ne);
  checkCopy("cast", a, type);
  const context = arena.take("cast", a);
  return arena.wrap(
    arena.library.base.ggml_cast(context, a.address, typeId(type)),
    type,
    a.ne,
    denseStrides(type, a.ne),
  );
}

/** `a` and `b` one after the other along dimension `dim`. */
export function concat(arena: TensorArena, a: Tensor, b: Tensor, dim: 0 | 1 | 2 | 3): Tensor {
  if (a.type !== b.type || isQuantized(a.type))
    badOperands("concat", `${a} and ${b} must be of one type that is not quantised`);
  const ne: [number, number, number, number] = [...a.ne];
  for (let i = 0; i < 4; i++)
    if (i === dim) ne[i] = (a.ne[i] as number) + (b.ne[i] as number);
    else if (a.ne[i] !== b.ne[i]) badOperands("concat", `${a} and ${b} differ beside dim ${dim}`);
  const context = arena.take("concat", a, b);
  return arena.wrap(arena.library.base.ggml_concat(context, a.address, b.address, dim), a.type, ne);
}

/** The elements of a [m, n, …] as [n, m, …]: a view whose first dimension is strided; for cont, and outProd's second operand. */
export function transposed(arena: TensorArena, a: Tensor): Tensor {
  const context = arena.take("transposed", a);
  return arena.wrap(
    arena.library.base.ggml_permute(context, a.address, 1, 0, 2, 3),
    a.type,
    [a.ne[1], a.ne[0], a.ne[2], a.ne[3]],
    [a.nb[1], a.nb[0], a.nb[2], a.nb[3]],
  );
}

/**
 * Makes the result [m, n, …] of mulMat, conv2dDirect or im2colBack lie inside `target`, `offset` bytes from its start, with strides nb[1..3]
 * of its own (bytes): a block of a larger matrix, written without a copy. Other operators write dense results and must not
 * be given strides.
 */
export function writeInside(result: Tensor, target: Tensor, offset: number, nb: Four): Tensor {
  const { arena } = result;
  if (nb[0] !== 4 || result.type !== "f32" || target.type !== "f32")
    badOperands("writeInside", `${result} into ${target}`);
  const placed = new Tensor(arena, result.address, "f32", result.ne, nb);
  if (!(offset >= 0 && offset % 4 === 0 && offset + placed.bytes <= target.bytes))
    badOperands("writeInside", `${result} at ${offset} passes the end of ${target}`);
  if (target.arena.field(target, tensorStruct.viewSrc) !== 0n)
    badOperands("writeInside", `${target} must not itself be a view`);
  for (let i = 1; i < 4; i++)
    arena.setField(result, tensorStruct.nb + 8 * i, BigInt(nb[i] as number));
  arena.setField(result, tensorStruct.viewSrc, target.address);
  arena.setField(result, tensorStruct.viewOffs, BigInt(offset));
  return placed;
}
