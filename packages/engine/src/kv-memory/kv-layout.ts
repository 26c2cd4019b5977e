/** Where K and V of every token stand in one contiguous range, and which bytes a page group covers. */
import { MillraceError } from "@millrace/core";
import { greatestCommonDivisor } from "@millrace/serving";
import type { KvGeometry } from "../contracts.ts";

export interface KvLayout {
  /** per-layer: 2 × layers tensors; sliced: one K and one V, the layers of a token beside each other (section 7.6). */
  readonly tensors: number;
  readonly pageBytes: number;
  /** Pages of one group: the same page of a slot in every tensor. */
  readonly groupBytes: number;
  readonly tokenStride: number;
  readonly slotStride: number;
  readonly tensorBytes: number;
  /** The whole range, with a tail that kernels may read beyond the last slot. */
  readonly bytes: number;
  /** How far kernels may read behind a sequence's last token: whole pages. */
  readonly readAheadBytes: number;
  /** Bytes from the start of the range to K or V of a layer, slot 0, token 0. */
  readonly offset: (layer: number, kind: "k" | "v") => number;
}

/** Kernels read keys in blocks of this many tokens. */
const READ_AHEAD_TOKENS = 256;

/** Lays the tensors out. Throws CONFIG_INVALID for pages that are no power of two. */
export function kvLayout(
  geometry: KvGeometry,
  pageBytes: number,
  layout: "per-layer" | "sliced",
): KvLayout {
  if (!Number.isInteger(Math.log2(pageBytes)) || pageBytes < 4096)
    throw new MillraceError("CONFIG_INVALID", `a KV page of ${pageBytes} bytes is not possible`, {
      hint: "take a power of two from 4KiB to 2MiB, e.g. 64KiB",
    });
  const { slots, slotTokens, layers, tokenBytes } = geometry;
  const sliced = layout === "sliced";
  const tensors = sliced ? 2 : 2 * layers;
  const tokenStride = sliced ? tokenBytes * layers : tokenBytes;
  // A slot begins where a page and a token begin, so that slots can be addressed by either.
  const unit = (pageBytes / greatestCommonDivisor(pageBytes, tokenStride)) * tokenStride;
  const slotStride = Math.ceil((slotTokens * tokenStride) / unit) * unit;
  const tensorBytes = slots * slotStride;
  const readAheadBytes = Math.ceil((READ_AHEAD_TOKENS * tokenStride) / pageBytes) * pageBytes;
  return {
    tensors,
    pageBytes,
    groupBytes: tensors * pageBytes,
    tokenStride,
    slotStride,
    tensorBytes,
    bytes: tensors * tensorBytes + readAheadBytes,
    readAheadBytes,
    offset: (layer, kind) => {
      const which = kind === "k" ? 0 : 1;
      return sliced ? which * tensorBytes + layer * tokenBytes : (2 * layer + which) * tensorBytes;
    },
  };
}
