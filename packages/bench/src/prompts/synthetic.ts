/** Prompts made of words: of the asked length in tokens where a tokenizer is there, near to it otherwise. */
import { Rng } from "@millrace/core";
import type { BenchTokenizer, PromptSpec } from "../contracts.ts";

/** Words of common English, one token each in most vocabularies. */
const words =
  "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so up said what its about than into them can only other time new some could these two may first then do any like my now over such our man me even most made after also did many off before must well back through years where much your way down should because long each just state those people too mister good how make world still see own men work here get old life both between".split(
    " ",
  );

/** Characters of a word and its space, on average: what a token is taken for without a tokenizer. */
const wordsPerToken = 1;

type Synthetic = Extract<PromptSpec, { type: "synthetic" }>;

export class SyntheticPrompts {
  private readonly spec: Synthetic;
  private readonly seed: string;
  private readonly tokenizer: BenchTokenizer | null;
  private readonly prefixes = new Map<number, Promise<string>>();

  constructor(spec: Synthetic, seed: string, tokenizer: BenchTokenizer | null) {
    this.spec = spec;
    this.seed = seed;
    this.tokenizer = tokenizer;
  }

  /** The prompt of request `index` with `tokens` tokens; equal for equal seeds. */
  async prompt(index: number, tokens: number): Promise<string> {
    const { cache = "unique", prefixGroups = 1, prefixTokens = 0 } = this.spec;
    const shared = cache === "shared" ? Math.min(prefixTokens, tokens - 1) : 0;
    if (shared <= 0) return this.exact(tokens, `request/${index}`, cache === "unique");
    const group = index % prefixGroups;
    let prefix = this.prefixes.get(group);
    if (prefix === undefined) {
      prefix = this.exact(shared, `prefix/${group}`, false);
      this.prefixes.set(group, prefix);
    }
    return `${await prefix} ${await this.exact(tokens - shared, `request/${index}`, true)}`;
  }

  /** `unique`: the first word is a number of its own, so that no two prompts begin alike. */
  private async exact(tokens: number, stream: string, unique: boolean): Promise<string> {
    const rng = new Rng(`${this.seed}/${stream}`);
    const first = unique ? [String(Math.floor(rng.next() * 1e9))] : [];
    const draw = (n: number): string[] =>
      Array.from({ length: n }, () => words[Math.floor(rng.next() * words.length)] as string);
    const { tokenizer } = this;
    if (tokenizer === null)
      return [...first, ...draw(Math.max(1, tokens * wordsPerToken - 3 * first.length))].join(" ");
    let text = [...first, ...draw(tokens)].join(" ");
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
}
