/**
 * Text to sparse rows: hashed words (and, where asked for, word pairs and character n-grams) weighted by TF-IDF. Owns the
 * document frequencies of the training text; needs no vocabulary, so that new words of later texts have a place as well.
 */
import { invariant } from "@millrace/core";
import { type Csr, CsrBuilder, normalizeRows } from "../data/csr.ts";
import { hashText } from "./hash.ts";
import { words } from "./tokenize.ts";

export interface VectorizerOptions {
  /** Columns; a power of two is usual. Two words share a column with chance about 1/buckets per pair. */
  readonly buckets: number;
  /** Also pairs of adjacent words. */
  readonly bigrams: boolean;
  /** Also character n-grams of this length within words, 0 for none. */
  readonly chars: number;
}

export const defaultVectorizer: VectorizerOptions = { buckets: 1 << 17, bigrams: false, chars: 0 };

/** What a vectoriser learnt; stored with a model. `idf` has length `options.buckets`. */
export interface VectorizerState {
  readonly options: VectorizerOptions;
  readonly idf: Float32Array;
}

/** Columns of one text with their counts; the map is reused by the caller. */
function countInto(counts: Map<number, number>, text: string, options: VectorizerOptions): void {
  const { buckets, bigrams, chars } = options;
  const bump = (feature: string): void => {
    const id = hashText(feature) % buckets;
    counts.set(id, (counts.get(id) ?? 0) + 1);
  };
  const list = words(text);
  for (let i = 0; i < list.length; i++) {
    const word = list[i] as string;
    bump(word);
    if (bigrams && i > 0) bump(`${list[i - 1]} ${word}`);
    if (chars > 0) {
      const padded = `<${word}>`;
      for (let at = 0; at + chars <= padded.length; at++) bump(`#${padded.slice(at, at + chars)}`);
    }
  }
}

/**
 * Learns idf = ln((1 + N) / (1 + df)) + 1 per column from the training texts. A column that no training text has gets 0: its
 * embedding would be noise, and the rarest words weigh most.
 */
export function fitVectorizer(
  texts: Iterable<string>,
  options: VectorizerOptions = defaultVectorizer,
): VectorizerState {
  invariant(options.buckets >= 1 && options.buckets <= 2 ** 30, "buckets is 1 … 2^30");
  const frequency = new Int32Array(options.buckets);
  const counts = new Map<number, number>();
  let documents = 0;
  for (const text of texts) {
    counts.clear();
    countInto(counts, text, options);
    for (const id of counts.keys()) frequency[id] = (frequency[id] as number) + 1;
    documents++;
  }
  const idf = new Float32Array(options.buckets);
  for (let i = 0; i < idf.length; i++)
    if ((frequency[i] as number) > 0)
      idf[i] = Math.log((1 + documents) / (1 + (frequency[i] as number))) + 1;
  return { options, idf };
}

/** Rows of `count · idf`, scaled to L2 norm 1. A text without known words gives an empty row. */
export function vectorize(state: VectorizerState, texts: Iterable<string>): Csr {
  const builder = new CsrBuilder(true);
  const counts = new Map<number, number>();
  for (const text of texts) {
    counts.clear();
    countInto(counts, text, state.options);
    for (const [id, count] of counts) {
      const idf = state.idf[id] as number;
      if (idf > 0) builder.add(id, count * idf);
    }
    builder.endRow();
  }
  return normalizeRows(builder.build(state.options.buckets));
}
