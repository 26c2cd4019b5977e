/**
 * The vocabulary of operators. Activations are [batch, channels, height, width] in vision models and [batch, tokens,
 * width] in transformers. The first group is what the built-in models use and the executor runs; the second group occurs
 * in imported graphs only.
 */

/** Height and width. */
export type Pair = readonly [number, number];

/** A window sliding over height and width; padding is the same on both sides. */
export interface Window {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
}

/** What an operator computes. Operands are named in the comment: operators' outputs, then network inputs (in brackets). */
export type Operation =
  /** x → y. Parameters: weight [out, in / groups, kh, kw], bias [out] when `bias`. Reads [image] when it comes first. */
  | ({ readonly kind: "conv2d"; readonly groups: number; readonly bias: boolean } & Window)
  /** x → y, twice the size for kernel 2 and stride 2. Parameters: weight [in, out, kh, kw], bias [out]. */
  | ({ readonly kind: "convTranspose2d"; readonly bias: boolean } & Window)
  /** x [..., in] → y [..., out]; with `flatten` all dimensions after the batch are one. Weight [out, in], bias [out]. */
  | { readonly kind: "linear"; readonly bias: boolean; readonly flatten: boolean }
  /** Over batch, height and width, with batch statistics. Parameters: weight [c], bias [c]. */
  | { readonly kind: "batchNorm"; readonly epsilon: number }
  /** Over the last dimension. Parameters: weight [d], bias [d]. */
  | { readonly kind: "layerNorm"; readonly epsilon: number }
  /** Over the last dimension. Parameter: weight [d]. */
  | { readonly kind: "rmsNorm"; readonly epsilon: number }
  | { readonly kind: "relu" }
  /** Clamped to 0 … 6. */
  | { readonly kind: "relu6" }
  /** The tanh form. */
  | { readonly kind: "gelu" }
  /** gate, up → silu(gate) * up. */
  | { readonly kind: "swiglu" }
  | ({ readonly kind: "maxPool" } & Window)
  | ({ readonly kind: "averagePool" } & Window)
  /** [n, c, h, w] → [n, c]. */
  | { readonly kind: "globalAveragePool" }
  /** a, b → a + b, of one shape; imported graphs stretch operands and add parameters. */
  | { readonly kind: "add" }
  /** Two or more → joined along the channels (dimension 1). */
  | { readonly kind: "concat" }
  /** Height and width times `scale`. */
  | { readonly kind: "upsample"; readonly scale: number; readonly mode: "nearest" | "bilinear" }
  /** Zeroes elements with probability `rate`, scales the others; the mask follows from (seed, step, operator). */
  | { readonly kind: "dropout"; readonly rate: number }
  /** [tokens] → [batch, tokens, width]. Parameters: weight [vocabulary, width]; with `positions` also [context, width]. */
  | { readonly kind: "embedding"; readonly positions: boolean }
  /** x [batch, tokens, heads * headWidth] → rotated; pairs are adjacent ("normal") or halves apart ("neox"). */
  | {
      readonly kind: "rope";
      readonly heads: number;
      readonly base: number;
      readonly mode: "normal" | "neox";
    }
  /** q, k, v → y [batch, tokens, heads * headWidth]; k and v have keyHeads heads (grouped-query attention). */
  | {
      readonly kind: "attention";
      readonly heads: number;
      readonly keyHeads: number;
      readonly causal: boolean;
    }
  /** logits [..., classes], [labels] → mean loss [1]. */
  | { readonly kind: "crossEntropy" }
  // Imported graphs only:
  /** a, b → a * b, of one shape. */
  | { readonly kind: "multiply" }
  /** Elementwise on one operand, by name. */
  | { readonly kind: "activation"; readonly function: ActivationFunction }
  /** Over the last dimension. */
  | { readonly kind: "softmax" }
  /** a, b → batched matrix product. */
  | { readonly kind: "matmul" }
  /** Copies: transposes and slices, of `inputs` elements. */
  | { readonly kind: "copy"; readonly what: "transpose" | "slice" | "pad" | "broadcast" }
  /** Mean or sum over some dimensions. */
  | { readonly kind: "reduce"; readonly what: "mean" | "sum" }
  /** Anything traced that has no rule of its own; it is neither split nor run in place. */
  | { readonly kind: "opaque"; readonly name: string };

/** Elementwise functions and what their gradient needs: their input, their output, or nothing. */
export const activations = {
  silu: "input",
  sigmoid: "output",
  tanh: "output",
  erf: "input",
  exp: "output",
  sqrt: "output",
  square: "input",
  log: "input",
  reciprocal: "output",
  leakyRelu: "output",
  hardSwish: "input",
  hardSigmoid: "output",
  softplus: "input",
  power: "input",
  abs: "input",
  elu: "output",
  clip: "output",
  scale: "nothing",
} as const satisfies Record<string, "input" | "output" | "nothing">;

/** A name of `activations`. */
export type ActivationFunction = keyof typeof activations;

/** Names of operations. */
export type OperationKind = Operation["kind"];
