/** The output of one request: turns its tokens into text and says when it ends. */
import { StopMatcher } from "./stop-matcher.ts";
import { Utf8Stream } from "./utf8.ts";

/** What text needs to know of a vocabulary. */
export interface TokenTexts {
  readonly size: number;
  /** Bytes of a token as text; empty for control tokens. Not copied: must not be changed. */
  bytes(token: number): Uint8Array;
  /** Whether the token ends a generation (end of sequence, of turn, of message). */
  endsGeneration(token: number): boolean;
}

/** When a request's output ends. */
export interface EndRules {
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly stop: readonly string[];
  readonly stopTokens: readonly number[];
  readonly ignoreEos: boolean;
}

/** Why the output ended: `matched` is the stop text or the token of `stopTokens` that did it, null for the model's own end. */
export interface OutputEnd {
  readonly reason: "stop" | "length";
  readonly matched: string | number | null;
}

/**
 * Every token is pushed once. The text given out never contains a stop text or part of a character; the token that ends
 * the output counts, its text does not. Before `minTokens` tokens nothing but maxTokens ends it (the sampler bans the
 * tokens that would), and stop texts are looked for only behind them.
 */
export class Output {
  /** Tokens pushed. */
  tokens = 0;
  /** Set once the output ended. */
  end: OutputEnd | null = null;
  private readonly texts: TokenTexts;
  private readonly rules: EndRules;
  private readonly utf8 = new Utf8Stream();
  private readonly stops: StopMatcher;

  /** @throws MillraceError CONFIG_INVALID for stop texts that cannot be used. */
  constructor(texts: TokenTexts, rules: EndRules) {
    this.texts = texts;
    this.rules = rules;
    this.stops = new StopMatcher(rules.stop);
  }

  /** Takes the next token; returns the text that may be shown now, often "". */
  push(token: number): string {
    const { rules, texts, stops } = this;
    this.tokens++;
    const early = this.tokens < rules.minTokens;
    if (!early && rules.stopTokens.includes(token)) return this.finish("stop", token);
    if (!early && !rules.ignoreEos && texts.endsGeneration(token)) return this.finish("stop", null);
    const whole = this.utf8.push(texts.bytes(token));
    // Text of early tokens is not searched, and cannot be half of a match either.
    const shown = early ? whole : stops.push(whole);
    if (stops.matched !== null) {
      this.end = { reason: "stop", matched: stops.matched };
      return shown;
    }
    return this.tokens >= rules.maxTokens ? shown + this.finish("length", null) : shown;
  }

  /** Ends the output early (cancelled, deadline); returns what was held back for a stop text. */
  cut(): string {
    return this.end === null ? this.stops.end() : "";
  }

  /** A character that is not complete stays away: half of it is no text. */
  private finish(reason: OutputEnd["reason"], matched: number | null): string {
    this.end = { reason, matched };
    return this.stops.end();
  }
}
