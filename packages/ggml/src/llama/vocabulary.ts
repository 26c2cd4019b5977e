/** Tokeniser and detokeniser of a model, by libllama. */
import { InvariantError, MillraceError } from "@millrace/core";
import type { LlamaLibrary } from "./library.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const none = new Uint8Array(0);
/** Longest text in one call, bytes: the count is a 32-bit integer. */
const LONGEST = 2 ** 30;

export class LlamaVocabulary {
  /** Number of token ids. */
  readonly size: number;
  readonly bos: number | null;
  readonly eos: number | null;
  /** Whether the tokeniser puts BOS before a text of its own. */
  readonly addsBos: boolean;
  readonly address: bigint;
  readonly library: LlamaLibrary;
  readonly #alive: () => void;
  readonly #pieces: (Uint8Array | undefined)[];
  /** Grows to the longest text; calls are synchronous, so one is enough. */
  #tokens = new Int32Array(1024);
  #bytes = new Uint8Array(1024);

  /** `alive` throws once the model is gone. */
  constructor(library: LlamaLibrary, address: bigint, alive: () => void) {
    const { call } = library;
    this.library = library;
    this.address = address;
    this.#alive = alive;
    this.size = call.llama_vocab_n_tokens(address);
    const id = (token: number): number | null => (token < 0 ? null : token);
    this.bos = id(call.llama_vocab_bos(address));
    this.eos = id(call.llama_vocab_eos(address));
    this.addsBos = call.llama_vocab_get_add_bos(address);
    this.#pieces = new Array<Uint8Array | undefined>(this.size);
  }

  /**
   * Token ids of a text. addSpecial: BOS and EOS as the model wants them; parseSpecial: control tokens written as text
   * become control tokens. Lone surrogates become U+FFFD. Throws CONFIG_INVALID for more than 1 GiB of text.
   */
  tokenize(
    text: string,
    options: { readonly addSpecial: boolean; readonly parseSpecial: boolean },
  ): Int32Array {
    this.#alive();
    const bytes = encoder.encode(text);
    if (bytes.length > LONGEST)
      throw new MillraceError("CONFIG_INVALID", `a text of ${bytes.length} bytes is too long`, {
        hint: "at most 1 GiB at once",
      });
    for (;;) {
      const n = this.library.call.llama_tokenize(
        this.address,
        // An empty array has no address.
        bytes.length === 0 ? this.#bytes : bytes,
        bytes.length,
        this.#tokens,
        this.#tokens.length,
        options.addSpecial,
        options.parseSpecial,
      );
      if (n >= 0) return this.#tokens.slice(0, n);
      if (n === -(2 ** 31)) throw new InvariantError("the tokeniser counted beyond 32 bits");
      this.#tokens = new Int32Array(-n);
    }
  }

  /** The text of tokens, control tokens written out. Tokens must be in the vocabulary (InvariantError otherwise). */
  detokenize(tokens: Int32Array): string {
    this.#alive();
    if (tokens.length === 0) return "";
    for (const token of tokens) this.#checkToken(token);
    for (;;) {
      const n = this.library.call.llama_detokenize(
        this.address,
        tokens,
        tokens.length,
        this.#bytes,
        this.#bytes.length,
        false,
        true,
      );
      if (n >= 0) return decoder.decode(this.#bytes.subarray(0, n));
      this.#bytes = new Uint8Array(-n);
    }
  }

  /** Bytes of a token as text; empty for control tokens. Kept: must not be changed. */
  pieceBytes(token: number): Uint8Array {
    const known = this.#pieces[token];
    if (known !== undefined) return known;
    this.#alive();
    this.#checkToken(token);
    const piece = this.#piece(token);
    this.#pieces[token] = piece;
    return piece;
  }

  /** Whether the token ends a generation (end of sequence, of turn, of message). */
  isEndOfGeneration(token: number): boolean {
    this.#alive();
    this.#checkToken(token);
    return this.library.call.llama_vocab_is_eog(this.address, token);
  }

  #piece(token: number): Uint8Array {
    for (;;) {
      const n = this.library.call.llama_token_to_piece(
        this.address,
        token,
        this.#bytes,
        this.#bytes.length,
        0,
        false,
      );
      if (n === 0) return none;
      if (n > 0) return this.#bytes.slice(0, n);
      this.#bytes = new Uint8Array(-n);
    }
  }

  #checkToken(token: number): void {
    if (!Number.isInteger(token) || token < 0 || token >= this.size)
      throw new InvariantError(`token ${token} is not in a vocabulary of ${this.size}`);
  }
}
