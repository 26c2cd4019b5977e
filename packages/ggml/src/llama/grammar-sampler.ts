/** GBNF grammars by libllama: which tokens may come next. */
import { InvariantError, MillraceError } from "@millrace/core";
import { HostMemory } from "../host-memory.ts";
import { closed, opened } from "../live-handles.ts";
import { captureLog, lastLoggedError } from "../native/log.ts";
import type { LlamaVocabulary } from "./vocabulary.ts";

/** Layouts of llama_token_data and llama_token_data_array. */
const candidate = { bytes: 12, words: 3 } as const;
const array = { data: 0, size: 8, selected: 16, sorted: 24, bytes: 32 } as const;

/** Candidates of one vocabulary; calls are synchronous, so that all grammars share them. */
class Candidates {
  readonly list: HostMemory;
  readonly head: HostMemory;
  readonly ids: Int32Array;
  readonly logits: Float32Array;

  constructor(size: number) {
    this.list = new HostMemory(candidate.bytes * size);
    this.head = new HostMemory(array.bytes);
    this.ids = this.list.i32();
    this.logits = this.list.f32();
  }

  /** Describes the first `n` candidates and gives the address of the description. */
  of(n: number): bigint {
    const words = this.head.u64();
    words[array.data / 8] = this.list.address;
    words[array.size / 8] = BigInt(n);
    words[array.selected / 8] = 0xffffffffffffffffn;
    words[array.sorted / 8] = 0n;
    return this.head.address;
  }
}

const shared = new WeakMap<LlamaVocabulary, Candidates>();

export class GrammarSampler implements Disposable {
  readonly #vocabulary: LlamaVocabulary;
  readonly #candidates: Candidates;
  readonly #address: bigint;
  #disposed = false;

  /** Starts at rule `root`. Throws GRAMMAR_INVALID; the parser's own words go to stderr, where libllama writes them. */
  constructor(vocabulary: LlamaVocabulary, gbnf: string) {
    this.#vocabulary = vocabulary;
    const { call } = vocabulary.library;
    // An empty text would be a grammar that allows everything, a NUL would end it early.
    const usable = gbnf.trim() !== "" && !gbnf.includes("\0");
    const address = usable
      ? captureLog(() => call.llama_sampler_init_grammar(vocabulary.address, gbnf, "root"))
      : null;
    if (address === null)
      throw new MillraceError(
        "GRAMMAR_INVALID",
        `the grammar cannot be parsed: ${lastLoggedError() || "a rule is undefined, unfinished, or begins with itself, or there is no rule root"}`,
        { hint: "GBNF: one `name ::= …` per rule, starting at `root`" },
      );
    this.#address = address;
    opened("grammar");
    let candidates = shared.get(vocabulary);
    if (candidates === undefined) {
      candidates = new Candidates(vocabulary.size);
      shared.set(vocabulary, candidates);
    }
    this.#candidates = candidates;
  }

  /** Whether the token may come next. */
  allows(token: number): boolean {
    const { ids, logits } = this.#candidates;
    ids[0] = token;
    logits[1] = 0;
    this.#apply(1);
    return logits[1] === 0;
  }

  /** Sets the logits of all tokens that may not come next to -Infinity. */
  mask(given: Float32Array): void {
    const { ids, logits } = this.#candidates;
    let n = 0;
    for (let token = 0; token < given.length; token++) {
      if (given[token] === Number.NEGATIVE_INFINITY) continue;
      ids[candidate.words * n] = token;
      logits[candidate.words * n + 1] = 0;
      n++;
    }
    if (n === 0) return;
    this.#apply(n);
    for (let i = 0; i < n; i++)
      if (logits[candidate.words * i + 1] !== 0)
        given[ids[candidate.words * i]!] = Number.NEGATIVE_INFINITY;
  }

  /** Moves on by a token that is allowed; libllama would end the process on another one. */
  accept(token: number): void {
    if (!this.allows(token))
      throw new InvariantError(`the grammar does not allow token ${token} here`);
    this.#vocabulary.library.call.llama_sampler_accept(this.#address, token);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#vocabulary.library.call.llama_sampler_free(this.#address);
    closed("grammar");
  }

  #apply(n: number): void {
    if (this.#disposed) throw new InvariantError("the grammar was disposed");
    this.#vocabulary.library.call.llama_sampler_apply(this.#address, this.#candidates.of(n));
  }
}
