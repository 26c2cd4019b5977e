/** The text of single tokens, for logprobs; asked of the engine once per token. */
import type { EngineClient } from "../contracts.ts";

/** A cache of token texts, at most one entry per vocabulary id. */
export class TokenPieces {
  readonly #client: EngineClient;
  readonly #texts = new Map<number, string>();

  constructor(client: EngineClient) {
    this.#client = client;
  }

  /** Texts of `tokens`, in their order. A token that is part of a UTF-8 sequence shows as U+FFFD. */
  async of(tokens: readonly number[]): Promise<readonly string[]> {
    const missing = tokens.filter((token) => !this.#texts.has(token));
    await Promise.all(
      [...new Set(missing)].map(async (token) => {
        this.#texts.set(token, await this.#client.detokenize(Int32Array.of(token)));
      }),
    );
    return tokens.map((token) => this.#texts.get(token) ?? "");
  }
}
