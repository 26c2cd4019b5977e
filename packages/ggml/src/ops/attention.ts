/** What attention needs: rotary positions, masked softmax, fused attention. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";
import { blockBytes } from "../types.ts";

/** Rotary position embedding (RoFormer), with the scaling of linear interpolation and YaRN. */
export interface RopeParameters {
  /** Rotated elements per head, even. */
  readonly dimensions: number;
  /** normal: adjacent pairs (Llama); neox: element i with i + dimensions/2 (Qwen, GPT-NeoX). */
  readonly mode: "normal" | "neox";
  /** Context the model was trained with before scaling; used by YaRN. */
  readonly originalContext: number;
  readonly base: number;
  /** 1 / factor of linear scaling; 1 = none. */
  readonly scale: number;
  /** Share of extrapolation in YaRN; 0 = off. */
  readonly extrapolation: number;
  /** Factor on the magnitude of rotated vectors. */
  readonly attention: number;
  readonly betaFast: number;
  readonly betaSlow: number;
}

const ropeModes = { normal: 0, neox: 2 } as const;

/** Checks rope's operands; gives the scalar arguments of the native functions, in their order. */
export function ropeArguments(
  op: string,
  a: Tensor,
  positions: Tensor,
  factors: Tensor | null,
  p: RopeParameters,
) {
  if (a.type !== "f32" || a.nb[0] !== 4) badOperands(op, `${a} must be f32`);
  if (positions.type !== "i32" || positions.ne[0] !== a.ne[2] || positions.elements !== a.ne[2])
    badOperands(op, `positions must be i32 [${a.ne[2]}], not ${positions}`);
  const { dimensions: d } = p;
  if (!Number.isInteger(d) || d < 2 || d % 2 !== 0 || d > a.ne[0])
    badOperands(op, `${d} rotated elements in heads of ${a.ne[0]}`);
  if (factors !== null && (factors.type !== "f32" || factors.ne[0] < d / 2))
    badOperands(op, `frequency factors must be f32 [${d / 2}], not ${factors}`);
  if (!(p.base > 0) || !(p.scale > 0)) badOperands(op, `base ${p.base}, scale ${p.scale}`);
  return [
    d,
    ropeModes[p.mode],
    p.originalContext,
    p.base,
    p.scale,
    p.extrapolation,
    p.attention,
    p.betaFast,
    p.betaSlow,
  ] as const;
}

/**
 * Rotates a [head, heads, n] by the positions i32 [n]. `factors` f32 [dimensions / 2] divides the frequencies (Llama 3), or
 * null.
 */
export function rope(
  arena: TensorArena,
  a: Tensor,
  positions: Tensor,
  factors: Tensor | null,
  p: RopeParameters,
): Tensor {
  const rest = ropeArguments("rope", a, positions, factors, p);
  const context = arena.take("rope", a, positions, factors);
  return arena.wrap(
    arena.library.base.ggml_rope_ext(
      context,
      a.address,
      positions.address,
      factors === null ? null : factors.address,
      ...rest,
    ),
    "f32",
    a.ne,
  );
}

/** softmax(factor · a + mask) per row; mask f16 or f32 [columns, >= rows], or null. */
export function softMax(
  arena: TensorArena,
  a: Tensor,
  mask: Tensor | null,
  factor: number,
): Tensor {
  if (a.type !== "f32" || !a.contiguous) badOperands("softMax", `${a} must be contiguous f32`);
  if (mask !== null) {
    if ((mask.type !== "f16" && mask.type !== "f32") || !mask.contiguous)
      badOperands("softMax", `the mask ${mask} must be contiguous f16 or f32`);
    const fits =
      mask.ne[0] === a.ne[0] &&
      mask.ne[1] >= a.ne[1] &&
      a.ne[2] % mask.ne[2] === 0 &&
      a.ne[3] % mask.ne[3] === 0;
    if (!fits) badOperands("softMax", `the mask ${mask} does not fit ${a}`);
  }
  const context = arena.take("softMax", a, mask);
  return arena.wrap(
    arena.library.base.ggml_soft_max_ext(context, a.address, mask?.address ?? null, factor, 0),
    "f32",
    a.ne,
  );
}

/**
 * softmax(factor · q kᵀ + mask) v in one pass: q f32 [d, n, heads, b], k [d, m, kvHeads, b], v [e, m, kvHeads, b], mask f16
 * [m, >= n, 1 | heads, 1 | b] or null; gives f32 [e, heads, n, b]. k and v are f16, f32 or q8_0-like, heads a multiple of
 * kvHeads.
 */
export function flashAttention(
  arena: TensorArena,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | null,
  factor: number,
): Tensor {
  if (q.type !== "f32" || q.nb[0] !== 4) badOperands("flashAttention", `q ${q} must be f32`);
  if (q.ne[0] !== k.ne[0] || q.ne[2] % k.ne[2] !== 0 || q.ne[3] !== k.ne[3])
    badOperands("flashAttention", `k ${k} does not fit q ${q}`);
  if (v.ne[1] !== k.ne[1] || v.ne[2] !== k.ne[2] || v.ne[3] !== k.ne[3])
    badOperands("flashAttention", `v ${v} does not fit k ${k}`);
  if (k.nb[0] !== blockBytes(k.type) || v.nb[0] !== blockBytes(v.type))
    badOperands("flashAttention", `the elements of k ${k} and v ${v} must be adjacent`);
  if (!(factor > 0 && Number.isFinite(factor)))
    badOperands("flashAttention", `the factor ${factor} must be positive`);
  if (mask !== null) {
    if (mask.type !== "f16" || !mask.contiguous)
      badOperands("flashAttention", `the mask ${mask} must be contiguous f16`);
    const fits =
      mask.ne[0] >= k.ne[1] &&
      mask.ne[1] >= q.ne[1] &&
      q.ne[2] % mask.ne[2] === 0 &&
      q.ne[3] % mask.ne[3] === 0;
    if (!fits) badOperands("flashAttention", `the mask ${mask} does not fit q ${q} and k ${k}`);
  }
  const context = arena.take("flashAttention", q, k, v);
  if (mask !== null && mask.generation !== mask.arena.generation)
    badOperands("flashAttention", `the mask ${mask} is of an earlier build`);
  return arena.wrap(
    arena.library.base.ggml_flash_attn_ext(
      context,
      q.address,
      k.address,
      v.address,
      mask?.address ?? null,
      factor,
      0,
      0,
    ),
    "f32",
    [v.ne[0], q.ne[2], q.ne[1], q.ne[3]],
  );
}
