/** Prompts made of words: of the asked length in tokens where a tokenizer is there, near to it otherwise. */
import { Rng } from "@millrace/core";
import type { BenchTokenizer, PromptSpec, ScheduledRequest } from "../contracts.ts";
import type { Message } from "../run/body.ts";
import type { PromptSource } from "./prompt-source.ts";
import { pick, WordTable, words } from "./word-table.ts";

type Synthetic = Extract<PromptSpec, { type: "synthetic" }>;

export class SyntheticPrompts implements PromptSource {
  readonly lengths = null;
  private readonly spec: Synthetic;
  private readonly seed: string;
  private readonly tokenizer: BenchTokenizer | null;
  private readonly blockTokens: number;
  private readonly pieces = new Map<string, Promise<string>>();
  private table: Promise<WordTable | null> | null = null;

  constructor(
    spec: Synthetic,
    seed: string,
    tokenizer: BenchTokenizer | null,
    blockTokens: number,
  ) {
    this.spec = spec;
    this.seed = seed;
    this.tokenizer = tokenizer;
    this.blockTokens = blockTokens;
  }

  async messages(request: ScheduledRequest): Promise<readonly Message[]> {
    return [{ role: "user", content: await this.prompt(request) }];
  }

  /** The text of a request: exactly its promptTokens, template tokens of a chat counted where the tokenizer knows them. */
  private async prompt({
    index,
    turn,
    promptTokens,
    prefixHashes,
  }: ScheduledRequest): Promise<string> {
    const overhead = turn === 0 ? (this.tokenizer?.chatOverheadTokens ?? 0) : 0;
    const tokens = Math.max(1, promptTokens - overhead);
    if (prefixHashes !== null && prefixHashes.length > 0)
      return this.blocks(prefixHashes, tokens, index);
    const { cache = "unique", prefixGroups = 1, prefixTokens = 0 } = this.spec;
    const shared = cache === "shared" ? Math.min(prefixTokens, tokens - 1) : 0;
    if (shared <= 0) return this.exact(tokens, `request/${index}`, cache === "unique");
    const prefix = await this.piece(`prefix/${index % prefixGroups}`, shared);
    return `${prefix} ${await this.exact(tokens - shared, `request/${index}`, false)}`;
  }

  /** Equal hashes give equal blocks, so that a prefix cache finds what it would have found in the real prompts. */
  private async blocks(hashes: readonly number[], tokens: number, index: number): Promise<string> {
    const parts: string[] = [];
    let left = tokens;
    for (const hash of hashes) {
      if (left < this.blockTokens) break;
      parts.push(await this.piece(`block/${hash}`, this.blockTokens));
      left -= this.blockTokens;
    }
    if (left > 0) {
      // The last, partial block is the hash's own too, cut to its length.
      const last = hashes[parts.length];
      const stream = last === undefined ? `request/${index}` : `block/${last}`;
      parts.push(await this.exact(left, stream, false));
    }
    return parts.join(" ");
  }

  private piece(stream: string, tokens: number): Promise<string> {
    let piece = this.pieces.get(stream);
    if (piece === undefined) {
      piece = this.exact(tokens, stream, false);
      this.pieces.set(stream, piece);
    }
    return piece;
  }

  /** `unique`: begins with a number of its own, so that no two prompts begin alike. */
  private async exact(tokens: number, stream: string, unique: boolean): Promise<string> {
    const rng = new Rng(`${this.seed}/${stream}`);
    const first = unique ? String(Math.floor(rng.next() * 1e9)) : null;
    const { tokenizer } = this;
    if (tokenizer === null) {
      // Most vocabularies take a number for about three tokens and a common word for one.
      const n = first === null ? tokens : Math.max(0, tokens - 3);
      const drawn = Array.from({ length: n }, () => pick(words, rng));
      return [...(first === null ? [] : [first]), ...drawn].join(" ") || String(first);
    }
    this.table ??= WordTable.of(tokenizer);
    const table = await this.table;
    if (table !== null) {
      const taken = first === null ? 0 : await table.cost(first);
      if (taken < tokens || first === null)
        return [...(first === null ? [] : [first]), ...table.draw(tokens - taken, rng)].join(" ");
    }
    return cutToLength(tokenizer, tokens, rng, first);
  }
}

/** The slow way, for vocabularies in which words do not add up and for prompts too short for a number. */
async function cutToLength(
  tokenizer: BenchTokenizer,
  tokens: number,
  rng: Rng,
  first: string | null,
): Promise<string> {
  const draw = (n: number): string[] => Array.from({ length: n }, () => pick(words, rng));
  let text = [...(first === null ? [] : [first]), ...draw(tokens)].join(" ");
  // Cutting ids and writing them out again may join tokens anew: what is missing is filled up, and cut again.
  for (let round = 0; round < 8; round++) {
    const ids = await tokenizer.encode(text);
    if (ids.length === tokens) return text;
    text =
      ids.length > tokens
        ? await tokenizer.decode(ids.slice(0, tokens))
        : `${text} ${draw(tokens - ids.length).join(" ")}`;
  }
  return text;
}
