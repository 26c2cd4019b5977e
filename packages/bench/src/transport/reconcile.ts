/**
 * How many tokens each chunk carried, from the best source there is (bench.md section 5, rule 7), and how far that
 * disagrees with the server's own total. Runs where records are collected, never where they are received.
 */
import type { BenchTokenizer, TokenSource, UsageReport } from "../contracts.ts";
import type { RawColumns } from "./chunk-rows.ts";

/** Tokens per chunk, where they come from, and tokens - usage.completionTokens (null where that says nothing). */
export interface TokenCounts {
  readonly tokens: Int32Array;
  readonly source: TokenSource;
  readonly disagreement: number | null;
}

/**
 * Counts the tokens of the chunks of one stream. `text` holds the text per choice, which the tokenizer needs. Only a
 * source that every chunk with text has is taken: counts for some chunks and guesses for others would not add up.
 * `told`: tokens of each chunk in the server's own times.
 */
export async function reconcile(
  raw: RawColumns,
  usage: UsageReport | null,
  text: readonly string[] | null,
  tokenizer: BenchTokenizer | null,
  told: Int32Array | null = null,
): Promise<TokenCounts> {
  const total = usage?.completionTokens ?? null;
  const counted = (tokens: Int32Array, source: TokenSource): TokenCounts => {
    const sum = tokens.reduce((a, b) => a + b, 0);
    return {
      tokens,
      source,
      disagreement: total === null || source === "usage" ? null : sum - total,
    };
  };
  if (raw.timeUs.length === 0) return counted(new Int32Array(0), "none");
  if (told !== null) return counted(told, "server-times");
  if (complete(raw, raw.ids)) return counted(raw.ids.slice(), "ids");
  if (complete(raw, raw.logprobs)) return counted(raw.logprobs.slice(), "logprobs");
  if (complete(raw, raw.usage)) return counted(steps(raw, raw.usage), "continuous-usage");
  if (tokenizer !== null && text !== null)
    return counted(await tokenised(raw, text, tokenizer), "tokenizer");
  if (total !== null) return counted(spread(raw.chars, total), "usage");
  return counted(new Int32Array(raw.timeUs.length).fill(1), "chunks");
}

function complete(raw: RawColumns, column: Int32Array | null): column is Int32Array {
  return column?.every((count, i) => count >= 0 || raw.chars[i] === 0) ?? false;
}

/** Differences of a running total: of each choice where they fall between choices, else of the whole request. */
function steps(raw: RawColumns, running: Int32Array): Int32Array {
  const perChoice = differences(raw, running, (choice) => choice);
  // A total over all choices grows with every chunk; one per choice does not when the choice changes.
  const fell = running.some(
    (value, i) =>
      i > 0 &&
      raw.choice[i] !== raw.choice[i - 1] &&
      value >= 0 &&
      value <= (running[i - 1] as number),
  );
  return fell ? perChoice : differences(raw, running, () => 0);
}

function differences(
  raw: RawColumns,
  running: Int32Array,
  key: (choice: number) => number,
): Int32Array {
  const reached = new Map<number, number>();
  return running.map((value, i) => {
    const owner = key(raw.choice[i] as number);
    const before = reached.get(owner) ?? 0;
    if (value <= before) return 0;
    reached.set(owner, value);
    return value - before;
  });
}

/** A token belongs to the chunk in which the share of the text up to and with it ends. */
async function tokenised(
  raw: RawColumns,
  text: readonly string[],
  tokenizer: BenchTokenizer,
): Promise<Int32Array> {
  const out = new Int32Array(raw.timeUs.length);
  for (let choice = 0; choice < text.length; choice++) {
    const rows = [...raw.choice.keys()].filter((i) => raw.choice[i] === choice);
    let shown = 0;
    let before = 0;
    for (const row of rows) {
      shown += raw.chars[row] as number;
      // Prefixes, not pieces: a token may reach over the border of two chunks.
      const upTo = (await tokenizer.encode((text[choice] ?? "").slice(0, shown))).length;
      out[row] = Math.max(0, upTo - before);
      before = Math.max(before, upTo);
    }
  }
  return out;
}

/** `total` in proportion to characters, whole numbers whose running sum is never off by more than one half. */
function spread(chars: Int32Array, total: number): Int32Array {
  const sum = chars.reduce((a, b) => a + b, 0);
  let seen = 0;
  let given = 0;
  return chars.map((count, i) => {
    seen += sum > 0 ? count : 1;
    const upTo =
      i === chars.length - 1 ? total : Math.round((total * seen) / (sum || chars.length));
    const step = upTo - given;
    given = upTo;
    return step;
  });
}
