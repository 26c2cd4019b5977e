/** The bytes of single tokens, for logprobs; asked of the engine once per token. */
import type { EngineClient } from "../contracts.ts";

/** A cache of token bytes, at most one entry per vocabulary id. */
export class TokenPieces {
  readonly #client: Pick<EngineClient, "pieces">;
  readonly #bytes = new Map<number, Uint8Array>();

  constructor(client: Pick<EngineClient, "pieces">) {
    this.#client = client;
  }

  /** Bytes of `tokens`, in their order; none for control tokens. */
  async of(tokens: readonly number[]): Promise<readonly Uint8Array[]> {
    const missing = [...new Set(tokens)].filter((token) => !this.#bytes.has(token));
    if (missing.length > 0) {
      const bytes = await this.#client.pieces(Int32Array.from(missing));
      // A view of a message must not keep the whole message alive.
      missing.forEach((token, i) => {
        this.#bytes.set(token, Uint8Array.from(bytes[i] ?? []));
      });
    }
    return tokens.map((token) => this.#bytes.get(token) ?? new Uint8Array());
  }
}
