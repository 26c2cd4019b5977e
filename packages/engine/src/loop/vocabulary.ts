/** What the loop needs of a vocabulary; implemented over libllama, and by tests. */
import type { TokenTexts } from "../text/index.ts";

export interface Vocabulary {
  /** Number of token ids. */
  readonly size: number;
  tokenize(
    text: string,
    options: { readonly addSpecial: boolean; readonly parseSpecial: boolean },
  ): Int32Array;
  detokenize(tokens: Int32Array): string;
  /** Bytes of a token as text; empty for control tokens. Not copied: must not be changed. */
  pieceBytes(token: number): Uint8Array;
  /** Whether the token ends a generation (end of sequence, of turn, of message). */
  isEndOfGeneration(token: number): boolean;
}

/** The part of a vocabulary that turns output into text. */
export function tokenTexts(vocabulary: Vocabulary): TokenTexts {
  return {
    size: vocabulary.size,
    bytes: (token) => vocabulary.pieceBytes(token),
    endsGeneration: (token) => vocabulary.isEndOfGeneration(token),
  };
}

/** All tokens that end a generation, ascending. O(vocabulary): once per engine. */
export function endTokens(vocabulary: Vocabulary): Int32Array {
  const found: number[] = [];
  for (let token = 0; token < vocabulary.size; token++)
    if (vocabulary.isEndOfGeneration(token)) found.push(token);
  return Int32Array.from(found);
}
