/**
 * Metrics of serving: what users of a token stream experience, computed the same way for simulated, served and
 * measured streams. This file: the fluidity-index of Metron/Etalon (section 4; design page bench.md, section 1.2) on
 * integer microseconds, where it does not depend on the unit of time. Floats in seconds do (0.15 // 0.05 is 2).
 *
 * A request's first token is due at the TTFT target after arrival, each later token one TBT target after the deadline
 * before it. Earliness is kept, so the deadline of the next token is one number per request. A token at or before its
 * deadline meets it; a token late by x misses 1 + floor(x / TBT target) deadlines, and deadlines restart from it.
 */
import { invariant } from "@millrace/core";

/** Score of one stream, in both readings. */
export interface FluidityScore {
  /** Deadlines met; a late token meets none. */
  readonly met: number;
  /** Deadlines missed; one stall may miss several. */
  readonly missed: number;
  /** Fluidity-index, met / (met + missed), 0 … 1; 0 for a stream without tokens. */
  readonly index: number;
  /** Tokens on time; the same count as `met`, since each token meets at most its own deadline. */
  readonly onTime: number;
  /** On-time token share, onTime / tokens, 0 … 1: the other reading, one miss per late token. */
  readonly onTimeShare: number;
}

/** Whole microseconds of `seconds`; the only place where time becomes an integer. */
export function microseconds(seconds: number): number {
  return Math.round(seconds * 1e6);
}

/**
 * Scores one finished stream. `gapsUs[0]` is the time to first token, the others the gap to the token before; all
 * numbers are whole microseconds. A chunk that carries k tokens is its gap followed by k - 1 zeros.
 */
export function scoreFluidity(
  gapsUs: ArrayLike<number>,
  ttftTargetUs: number,
  tbtTargetUs: number,
): FluidityScore {
  const stream = new FluidityColumns(1, tbtTargetUs);
  stream.begin(0, 0, ttftTargetUs);
  let now = 0;
  for (let i = 0; i < gapsUs.length; i++) {
    now += gapsUs[i] as number;
    stream.emit(0, now, 1);
  }
  const met = stream.met[0] as number;
  const missed = stream.missed[0] as number;
  return {
    met,
    missed,
    index: met + missed > 0 ? met / (met + missed) : 0,
    onTime: met,
    onTimeShare: gapsUs.length > 0 ? met / gapsUs.length : 0,
  };
}

/**
 * The incremental form for many streams at once: a struct of arrays with one row per stream and O(1) work per token.
 * Both readings follow from `met` and `missed` (index) or `met` and the number of tokens (on-time token share).
 */
export class FluidityColumns {
  /** Absolute deadline of the stream's next token, microseconds. */
  readonly deadlineUs: Float64Array;
  readonly met: Int32Array;
  readonly missed: Int32Array;
  readonly tbtTargetUs: number;

  /** `tbtTargetUs`: whole microseconds, >= 1, one constant for all streams. */
  constructor(streams: number, tbtTargetUs: number) {
    invariant(
      Number.isSafeInteger(tbtTargetUs) && tbtTargetUs >= 1,
      `TBT target of ${tbtTargetUs} µs is not a whole number of at least 1`,
    );
    this.deadlineUs = new Float64Array(streams);
    this.met = new Int32Array(streams);
    this.missed = new Int32Array(streams);
    this.tbtTargetUs = tbtTargetUs;
  }

  /** Starts row `stream`, whose request arrived at `arrivedUs`; targets in whole microseconds. */
  begin(stream: number, arrivedUs: number, ttftTargetUs: number): void {
    this.deadlineUs[stream] = arrivedUs + ttftTargetUs;
    this.met[stream] = 0;
    this.missed[stream] = 0;
  }

  /** `tokens` (>= 1) tokens of row `stream` came out together at `nowUs`; call in order of time. */
  emit(stream: number, nowUs: number, tokens: number): void {
    const target = this.tbtTargetUs;
    const deadline = this.deadlineUs[stream] as number;
    const late = nowUs - deadline;
    if (late <= 0) {
      this.met[stream] = (this.met[stream] as number) + tokens;
      this.deadlineUs[stream] = deadline + tokens * target;
    } else {
      // The tokens that come with the late one have gap 0, so they meet the deadlines that restart from it.
      this.met[stream] = (this.met[stream] as number) + tokens - 1;
      this.missed[stream] = (this.missed[stream] as number) + 1 + Math.floor(late / target);
      this.deadlineUs[stream] = nowUs + tokens * target;
    }
  }
}
