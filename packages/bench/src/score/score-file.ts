/**
 * Scoring streams that anyone recorded: gaps between tokens and two targets in, fluidity out. The file format is a
 * contract (`{per_request: [...]}`, whole microseconds); keys beyond those named here are notes and are let pass.
 */
import { parseConfig } from "@millrace/core/config";
import { scoreEtalon, scoreFluidity } from "@millrace/serving";
import { z } from "zod";

const wholeUs = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const recordedStream = z.object({
  id: z.union([z.string(), z.number()]),
  /** Time to first token, then the gap to the token before; a chunk of k tokens is its gap and k - 1 zeros. */
  inter_token_times_us: z.array(wholeUs),
  target_ttft_us: wholeUs,
  target_tbt_us: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
});

/** The file that `millrace bench score` reads. */
export const scoreFileSchema = z.object({ per_request: z.array(recordedStream) });

/** A stream with its targets, whole microseconds. */
export type RecordedStream = z.infer<typeof recordedStream>;

/** The score of one stream. */
export interface StreamScore {
  readonly id: string | number;
  readonly met: number;
  readonly missed: number;
  /** Fluidity-index, met / (met + missed). */
  readonly index: number;
  /** Tokens on time / tokens: one miss per late token, however late. */
  readonly onTimeShare: number;
}

/** Whose arithmetic: exact whole microseconds, or etalon's floats in seconds. */
export type ScoreArithmetic = "exact" | "etalon";

/** `millrace.bench-score/1`. */
export interface ScoreReport {
  readonly schema: "millrace.bench-score/1";
  readonly arithmetic: ScoreArithmetic;
  /** All streams together: sums of what the results say. */
  readonly pooled: Omit<StreamScore, "id">;
  readonly results: readonly StreamScore[];
}

/** Reads the text of `file`. Throws CONFIG_SYNTAX or CONFIG_INVALID with the place of the first value that is wrong. */
export function parseScoreFile(text: string, file: string): readonly RecordedStream[] {
  try {
    const fast = scoreFileSchema.safeParse(JSON.parse(text));
    if (fast.success) return fast.data.per_request;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  // Slower by far, but it knows where in the file the trouble is.
  return parseConfig(text, { file, schema: scoreFileSchema, format: "json" }).per_request;
}

/** Scores the streams. The on-time share is always the exact one: etalon's code has no such figure. */
export function scoreStreams(
  streams: readonly RecordedStream[],
  arithmetic: ScoreArithmetic = "exact",
): ScoreReport {
  let met = 0;
  let missed = 0;
  let onTime = 0;
  let tokens = 0;
  const results = streams.map((stream) => {
    const { id, inter_token_times_us: gaps, target_ttft_us: ttft, target_tbt_us: tbt } = stream;
    const exact = scoreFluidity(gaps, ttft, tbt);
    const score = arithmetic === "etalon" ? scoreEtalon(gaps, ttft, tbt) : exact;
    met += score.met;
    missed += score.missed;
    onTime += exact.onTime;
    tokens += gaps.length;
    return {
      id,
      met: score.met,
      missed: score.missed,
      index: score.index,
      onTimeShare: exact.onTimeShare,
    };
  });
  return {
    schema: "millrace.bench-score/1",
    arithmetic,
    pooled: {
      met,
      missed,
      index: met + missed > 0 ? met / (met + missed) : 0,
      onTimeShare: tokens > 0 ? onTime / tokens : 0,
    },
    results,
  };
}
