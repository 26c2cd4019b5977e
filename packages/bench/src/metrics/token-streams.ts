/**
 * From chunks to streams of tokens: one list of gaps per choice of a request, as the fluidity-index reads it. The first
 * gap is the time to first token; a chunk of k tokens is its gap and k - 1 zeros (bench.md, section 1.1). Whole µs.
 */
import type { RequestRecord } from "../contracts.ts";

/**
 * Gaps per choice that the request asked for, in order of choice; a choice that said nothing has none. Counted from
 * `originUs`: the time of the schedule, or of the start.
 */
export function tokenGaps(
  { chunks, askedChoices }: Pick<RequestRecord, "chunks" | "askedChoices">,
  originUs: number,
): readonly Float64Array[] {
  const { timeUs, tokens, choice } = chunks;
  const n = timeUs.length;
  let choices = askedChoices;
  for (let i = 0; i < n; i++) choices = Math.max(choices, (choice[i] as number) + 1);
  const counts = new Int32Array(choices);
  for (let i = 0; i < n; i++) (counts[choice[i] as number] as number) += tokens[i] as number;
  const gaps = Array.from(counts, (count) => new Float64Array(count));
  const filled = new Int32Array(choices);
  const before = new Float64Array(choices).fill(Math.round(originUs));
  for (let i = 0; i < n; i++) {
    const count = tokens[i] as number;
    if (count === 0) continue;
    const c = choice[i] as number;
    const at = Math.round(timeUs[i] as number);
    (gaps[c] as Float64Array)[filled[c] as number] = Math.max(0, at - (before[c] as number));
    filled[c] = (filled[c] as number) + count;
    before[c] = at;
  }
  return gaps;
}
