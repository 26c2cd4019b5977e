/**
 * Text to sparse rows: words (and, where asked for, word pairs and character n-grams) by 32-bit hash, weighted by TF-IDF. Owns
 * the hashes and document frequencies of the training text. What no training text has is left out: its embedding would be
 * noise, and the rarest features weigh most.
 */
import { type Csr, CsrBuilder, normalizeRows } from "../data/csr.ts";
import { hashText } from "./hash.ts";
import { words } from "./tokenize.ts";

export interface VectorizerOptions {
  /** Also pairs of adjacent words. */
  readonly bigrams: boolean;
  /** Also character n-grams of this length within words, 0 for none. */
  readonly chars: number;
  /** Features of fewer training texts are left out. */
  readonly minCount: number;
}

export const defaultVectorizer: VectorizerOptions = { bigrams: false, chars: 0, minCount: 2 };

/** What a vectoriser learnt; stored with a model. A feature's column is its place among the hashes. */
export interface VectorizerState {
  readonly options: VectorizerOptions;
  /** Ascending. Two of n features share a hash with chance about n² / 2^33. */
  readonly hashes: Uint32Array;
  readonly idf: Float32Array;
}

/** Hashes of one text with their counts; the map is reused by the caller. */
function countInto(counts: Map<number, number>, text: string, options: VectorizerOptions): void {
  const { bigrams, chars } = options;
  const bump = (feature: string): void => {
    const id = hashText(feature);
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

/** Learns the features and idf = ln((N + 1) / df) of each from the training texts. */
export function fitVectorizer(
  texts: Iterable<string>,
  options: VectorizerOptions = defaultVectorizer,
): VectorizerState {
  const frequency = new Map<number, number>();
  const counts = new Map<number, number>();
  let documents = 0;
  for (const text of texts) {
    counts.clear();
    countInto(counts, text, options);
    for (const id of counts.keys()) frequency.set(id, (frequency.get(id) ?? 0) + 1);
    documents++;
  }
  const kept = [...frequency].filter(([, n]) => n >= options.minCount);
  const hashes = Uint32Array.from(kept, ([hash]) => hash).sort();
  const idf = Float32Array.from(hashes, (hash) =>
    Math.log((documents + 1) / (frequency.get(hash) ?? 1)),
  );
  return { options, hashes, idf };
}

/** Rows of `(1 + ln count) · idf`, scaled to L2 norm 1. A text without known features gives an empty row. */
export function vectorize(state: VectorizerState, texts: Iterable<string>): Csr {
  const { hashes, idf, options } = state;
  const columns = columnsOf(state);
  const builder = new CsrBuilder(true);
  const counts = new Map<number, number>();
  for (const text of texts) {
    counts.clear();
    countInto(counts, text, options);
    for (const [hash, count] of counts) {
      const column = columns.get(hash);
      if (column !== undefined)
        builder.add(column, (1 + Math.log(count)) * (idf[column] as number));
    }
    builder.endRow();
  }
  return normalizeRows(builder.build(hashes.length));
}

const tables = new WeakMap<VectorizerState, ReadonlyMap<number, number>>();

function columnsOf(state: VectorizerState): ReadonlyMap<number, number> {
  const known = tables.get(state);
  if (known !== undefined) return known;
  const table = new Map<number, number>();
  state.hashes.forEach((hash, column) => {
    table.set(hash, column);
  });
  tables.set(state, table);
  return table;
}
