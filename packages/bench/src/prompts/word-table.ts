/** Words of which n in a row are n tokens, so that a prompt of any length is written without tokenising it. */
import { Rng } from "@millrace/core";
import type { BenchTokenizer } from "../contracts.ts";

/** Words of common English, one token each in most vocabularies. */
export const words: readonly string[] =
  "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so up said what its about than into them can only other time new some could these two may first then do any like my now over such our man me even most made after also did many off before must well back through years where much your way down should because long each just state those people too mister good how make world still see own men work here get old life both between".split(
    " ",
  );

/** A table is not worth it with fewer words: prompts would repeat themselves. */
const LEAST = 24;
/** Random rows of words that must add up before a table is believed. */
const TRIALS = 12;

/** One of the words, each as likely as the others. */
export function pick(from: readonly string[], rng: Rng): string {
  return from[Math.floor(rng.next() * from.length)] as string;
}

export class WordTable {
  private readonly words: readonly string[];
  private readonly tokenizer: BenchTokenizer;
  private readonly first: number;

  private constructor(table: readonly string[], tokenizer: BenchTokenizer, first: number) {
    this.words = table;
    this.tokenizer = tokenizer;
    this.first = first;
  }

  /** The table of a vocabulary; null where words do not add up. */
  static async of(tokenizer: BenchTokenizer): Promise<WordTable | null> {
    const count = async (text: string): Promise<number> => (await tokenizer.encode(text)).length;
    const base = await count("the");
    const single: string[] = [];
    for (const word of words) {
      const alone = await count(word);
      const between = (await count(`the ${word} the`)) - (await count("the the"));
      if (alone === base && between === 1) single.push(word);
    }
    if (single.length < LEAST) return null;
    const table = new WordTable(single, tokenizer, base);
    const rng = new Rng("word-table");
    for (let trial = 0; trial < TRIALS; trial++) {
      const n = rng.int(2, 300);
      const row = table.draw(n, rng).join(" ");
      if ((await count(row)) !== n) return null;
    }
    return table;
  }

  /** So many tokens' worth of words. */
  draw(tokens: number, rng: Rng): string[] {
    const n = Math.max(0, tokens - (this.first - 1));
    return Array.from({ length: n }, () => pick(this.words, rng));
  }

  /** Tokens that a text adds in front of words: alone it may count a space that the words then share. */
  async cost(text: string): Promise<number> {
    return (await this.tokenizer.encode(`${text} the`)).length - 1;
  }
}
