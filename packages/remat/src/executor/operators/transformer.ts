/** Attention and rotary positions. */
import {
  causalMaskInplace,
  cont,
  cpy,
  mulMat,
  outProd,
  permute,
  type RopeParameters,
  repeatBack,
  reshape,
  rope,
  ropeBack,
  softMaxBack,
  softMaxInplace,
  type Tensor,
  transposed,
  view,
} from "@millrace/ggml";
import type { KernelBuilder } from "../kernel.ts";
import {
  count,
  type Forward,
  type OperationOf,
  type OperatorKind,
  type OperatorShape,
  whole,
} from "./operator.ts";

function rotation(op: OperatorShape): readonly [heads: number, RopeParameters] {
  const { heads, base, mode } = op.operation as OperationOf<"rope">;
  const dimensions = (op.output[0] as number) / heads;
  return [
    heads,
    {
      dimensions,
      mode,
      base,
      originalContext: op.output[1] as number,
      scale: 1,
      extrapolation: 0,
      attention: 1,
      betaFast: 32,
      betaSlow: 1,
    },
  ];
}

function rotate(from: string, to: string, turn: typeof rope) {
  return (op: OperatorShape) =>
    (k: KernelBuilder): void => {
      const [heads, parameters] = rotation(op);
      const x = k.operand(from);
      const apart = reshape(k.arena, x, [x.ne[0] / heads, heads, count(x.ne) / x.ne[0]]);
      k.into(to, turn(k.arena, apart, k.operand("places"), null, parameters));
    };
}

export const rotary: OperatorKind = {
  forward: [{ name: "copy", code: { native: rotate("x0", "y", rope) } }],
  backward: [whole("copy", [], { native: rotate("dy", "dx0", ropeBack) })],
  constants: (op) => {
    const [, tokens, batch = 1] = op.output as [number, number, number?];
    return new Map([["places", Int32Array.from({ length: tokens * batch }, (_, i) => i % tokens)]]);
  },
};

/** Sizes of an attention operator. */
interface Heads {
  readonly width: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly tokens: number;
  readonly batch: number;
  readonly causal: boolean;
}

function headsOf(op: OperatorShape): Heads {
  const { heads, keyHeads, causal } = op.operation as OperationOf<"attention">;
  const [all, tokens, batch = 1] = op.output as [number, number, number?];
  return { width: all / heads, heads, keyHeads, tokens, batch, causal };
}

/** How much of the scores exists at once: sequences, and key heads of them. */
interface Chunk {
  readonly batch: number;
  readonly keyHeads: number;
}

/** Heads [first, first + n) of sequences [at, at + b) of [width · heads, tokens, batch] as [width, tokens, n, b]. */
function part(
  k: KernelBuilder,
  name: string,
  { width, tokens, batch }: Heads,
  heads: number,
  [first, n]: readonly [number, number],
  [at, b]: readonly [number, number],
): Tensor {
  const apart = reshape(k.arena, k.operand(name), [width, heads, tokens, batch]);
  const head = 4 * width;
  const token = head * heads;
  const sequence = token * tokens;
  const some = view(
    k.arena,
    apart,
    [width, n, tokens, b],
    [head, token, sequence],
    at * sequence + first * head,
  );
  return permute(k.arena, some, [0, 2, 1, 3]);
}

/** Calls `body` with the places of each chunk: heads of queries, heads of keys, sequences. */
function eachChunk(
  h: Heads,
  chunk: Chunk,
  body: (
    queryHeads: readonly [number, number],
    keyHeads: readonly [number, number],
    sequences: readonly [number, number],
    index: number,
  ) => void,
): void {
  const group = h.heads / h.keyHeads;
  let index = 0;
  for (let b = 0; b < h.batch; b += chunk.batch)
    for (let kv = 0; kv < h.keyHeads; kv += chunk.keyHeads)
      body([kv * group, chunk.keyHeads * group], [kv, chunk.keyHeads], [b, chunk.batch], index++);
}

/** softmax(k q / sqrt(width)), masked: [keys, queries, heads, sequences]. */
function probabilities(k: KernelBuilder, h: Heads, q: Tensor, key: Tensor): Tensor {
  const scores = k.run(mulMat(k.arena, key, cont(k.arena, q)));
  if (h.causal) k.run(causalMaskInplace(k.arena, scores));
  return k.run(softMaxInplace(k.arena, scores, 1 / Math.sqrt(h.width)));
}

function attend(chunkOf: (h: Heads) => Chunk, keep: boolean): Forward["code"] {
  return {
    native: (op) => (k) => {
      const { arena } = k;
      const h = headsOf(op);
      eachChunk(h, chunkOf(h), (queries, keys, sequences) => {
        const q = part(k, "x0", h, h.heads, queries, sequences);
        const p = probabilities(k, h, q, part(k, "x1", h, h.keyHeads, keys, sequences));
        if (keep) k.run(cpy(arena, p, keptPart(k, h)));
        const v = part(k, "x2", h, h.keyHeads, keys, sequences);
        const mixed = mulMat(arena, cont(arena, transposed(arena, v)), p);
        k.run(cpy(arena, mixed, part(k, "y", h, h.heads, queries, sequences)));
      });
    },
  };
}

/** The auxiliary tensor: the probabilities of the one chunk there is when they are kept. */
function keptPart(k: KernelBuilder, h: Heads): Tensor {
  return reshape(k.arena, k.operand("a"), [h.tokens, h.tokens, h.heads, h.batch]);
}

/** Sums the heads that share a key head: [width, keys, heads, b] → [width, keys, keyHeads, b]. */
function grouped(k: KernelBuilder, g: Tensor, keyHeads: number): Tensor {
  const [width, keys, heads, b] = g.ne;
  if (heads === keyHeads) return g;
  const { arena } = k;
  const group = heads / keyHeads;
  const apart = reshape(arena, g, [width * keys, group, keyHeads, b]);
  const like = view(
    arena,
    apart,
    [width * keys, 1, keyHeads, b],
    [apart.nb[1], apart.nb[2], apart.nb[3]],
  );
  return reshape(arena, k.run(repeatBack(arena, apart, like)), [width, keys, keyHeads, b]);
}

function attendBack(chunkOf: (h: Heads) => Chunk, kept: boolean) {
  return (op: OperatorShape) =>
    (k: KernelBuilder): void => {
      const { arena } = k;
      const h = headsOf(op);
      const factor = 1 / Math.sqrt(h.width);
      eachChunk(h, chunkOf(h), (queries, keys, sequences) => {
        const q = part(k, "x0", h, h.heads, queries, sequences);
        const key = part(k, "x1", h, h.keyHeads, keys, sequences);
        const v = part(k, "x2", h, h.keyHeads, keys, sequences);
        const p = kept ? keptPart(k, h) : probabilities(k, h, q, key);
        const d = cont(arena, part(k, "dy", h, h.heads, queries, sequences));
        const dv = grouped(k, k.run(outProd(arena, d, p)), keys[1]);
        k.run(cpy(arena, dv, part(k, "dx2", h, h.keyHeads, keys, sequences)));
        const ds = k.run(softMaxBack(arena, mulMat(arena, v, d), p, factor));
        const dq = mulMat(arena, cont(arena, transposed(arena, key)), ds);
        k.run(cpy(arena, dq, part(k, "dx0", h, h.heads, queries, sequences)));
        const dk = grouped(k, k.run(outProd(arena, cont(arena, q), ds)), keys[1]);
        k.run(cpy(arena, dk, part(k, "dx1", h, h.keyHeads, keys, sequences)));
      });
    };
}

const everything = (h: Heads): Chunk => ({ batch: h.batch, keyHeads: h.keyHeads });
const sequence = (h: Heads): Chunk => ({ batch: 1, keyHeads: h.keyHeads });
const oneHead = (): Chunk => ({ batch: 1, keyHeads: 1 });
const batched = (op: OperatorShape): boolean => headsOf(op).batch > 1;
const headed = (op: OperatorShape): boolean => headsOf(op).keyHeads > 1;
const inputs = ["x0", "x1", "x2"];

export const attention: OperatorKind = {
  forward: [
    { name: "whole", code: attend(everything, false) },
    { name: "by-sequence", fits: batched, code: attend(sequence, false) },
    { name: "by-head", fits: headed, code: attend(oneHead, false) },
    {
      name: "whole-kept",
      code: attend(everything, true),
      auxiliaryBytes: (op) => {
        const h = headsOf(op);
        return 4 * h.tokens * h.tokens * h.heads * h.batch;
      },
    },
  ],
  backward: [
    whole("whole", inputs, { native: attendBack(everything, false) }),
    { ...whole("by-sequence", inputs, { native: attendBack(sequence, false) }), fits: batched },
    { ...whole("by-head", inputs, { native: attendBack(oneHead, false) }), fits: headed },
    whole("kept", [...inputs, "a"], { native: attendBack(everything, true) }),
  ],
};
