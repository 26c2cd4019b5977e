/** How tokens fit into pages when pages are counted in bytes: a token may straddle two pages, and nothing drifts. */
import { invariant } from "@millrace/core";

/**
 * Pages of `bytes` under tokens of `tokenBytes`, both from offset 0 of a slot. vAttention's code floors the tokens of a
 * page and multiplies, so that its count drifts from the true offsets where a page is no multiple of a token; this one
 * is exact.
 */
export class PageFit {
  readonly bytes: number;
  readonly tokenBytes: number;
  /** Fewest pages that end where a token ends, and the tokens in them: the unit of prefix sharing. */
  readonly runPages: number;
  readonly runTokens: number;

  /** @throws InvariantError unless both are whole numbers above 0. */
  constructor(bytes: number, tokenBytes: number) {
    invariant(
      Number.isSafeInteger(bytes) &&
        bytes > 0 &&
        Number.isSafeInteger(tokenBytes) &&
        tokenBytes > 0,
      `pages of ${bytes} bytes under tokens of ${tokenBytes} bytes`,
    );
    this.bytes = bytes;
    this.tokenBytes = tokenBytes;
    const common = greatestCommonDivisor(bytes, tokenBytes);
    this.runPages = tokenBytes / common;
    this.runTokens = bytes / common;
  }

  /** Pages that the first `tokens` tokens touch. */
  pagesFor(tokens: number): number {
    return Math.ceil((tokens * this.tokenBytes) / this.bytes);
  }

  /** Tokens that lie wholly in the first `pages` pages. */
  tokensIn(pages: number): number {
    return Math.floor((pages * this.bytes) / this.tokenBytes);
  }
}

/** Greatest common divisor of two positive whole numbers. */
export function greatestCommonDivisor(a: number, b: number): number {
  let x = a;
  let y = b;
  while (y !== 0) {
    const rest = x % y;
    x = y;
    y = rest;
  }
  return x;
}
