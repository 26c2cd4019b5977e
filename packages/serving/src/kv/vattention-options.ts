/** What the vAttention policy is told, and how many tokens its pages hold (vAttention sections 5 and 7.6). */
import { invariant } from "@millrace/core";

export interface VattentionOptions {
  /** Page groups in the physical pool. */
  readonly groups: number;
  /** Whole tokens that one page group holds: see `tokensPerPageGroup`. */
  readonly groupTokens: number;
  /**
   * Bytes of a page and of one token in it, where a page holds no whole number of tokens: then groups are counted in
   * bytes and groupTokens is not used.
   */
  readonly page?: { readonly bytes: number; readonly tokenBytes: number };
  /** Sequences that can have a slot of virtual memory at once. */
  readonly slots: number;
  /** Virtual tokens of a slot: the longest request. */
  readonly slotTokens: number;
  /** Share of the groups kept free at admission, 0 … 1. */
  readonly watermark: number;
  /** Freed slots keep their pages for the next request there, until somebody needs them (section 6.1.2). */
  readonly deferredReclamation: boolean;
  /** Steps of look-ahead of the background mapper (paper: 10), and groups it maps at most per step (paper: 2). */
  readonly eagerSteps: number;
  readonly eagerGroups: number;
}

/**
 * Tokens per page group. per-layer: a page holds one layer's K (or V) of consecutive tokens; sliced: all layers of a
 * token stand together, so a page holds fewer tokens and less of it is wasted at the end of a sequence.
 * @throws InvariantError when one token is larger than a page.
 */
export function tokensPerPageGroup(geometry: {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layers: number;
  readonly kvBytes: number;
  readonly pageBytes: number;
  readonly layout: "per-layer" | "sliced";
}): number {
  const layers = geometry.layout === "sliced" ? geometry.layers : 1;
  const tokens = Math.floor(
    geometry.pageBytes / (geometry.kvHeads * geometry.headDim * geometry.kvBytes * layers),
  );
  invariant(
    tokens >= 1,
    `a page of ${geometry.pageBytes} bytes is smaller than one token's KV in layout ${geometry.layout}`,
  );
  return tokens;
}
