/** One request's way from logits to tokens: bans, penalties, grammar, logprobs, text and end. Knows nothing of batches. */
import { FAILED, GO_ON, LENGTH, STOP } from "@millrace/serving";
import type { GenerateRequest, TokenLogprob } from "../contracts.ts";
import {
  NO_TOKEN,
  type Sampler,
  type TokenFilter,
  TokenHistory,
  tokenLogprobs,
} from "../sampling/index.ts";
import { Output, type TokenTexts } from "../text/index.ts";
import type { LiveRequest } from "./executor-backend.ts";

/** A grammar's state in one request: narrows what may come next, and moves on with every token. */
export interface GrammarState extends TokenFilter {
  accept(token: number): void;
  [Symbol.dispose](): void;
}

/** Log probability of a token that was drawn, and the likeliest alternatives. */
export interface DrawnLogprob {
  readonly token: number;
  readonly logprob: number;
  readonly top: readonly TokenLogprob[];
}

/** What the generations of one engine share. */
export interface GenerationScope {
  readonly sampler: Sampler;
  readonly texts: TokenTexts;
  /** Tokens that end a generation. */
  readonly endTokens: Int32Array;
}

/** The part of a GenerateRequest that a generation reads. */
export type GenerationRequest = Pick<
  GenerateRequest,
  "prompt" | "forced" | "maxTokens" | "minTokens" | "sampling" | "stop" | "stopTokens" | "ignoreEos"
>;

export class Generation implements LiveRequest {
  readonly tokens: Int32Array;
  readonly output: Output;
  private readonly scope: GenerationScope;
  private readonly request: GenerationRequest;
  private readonly grammar: GrammarState | null;
  private readonly history: TokenHistory | null;
  private readonly bannedEarly: Int32Array | null;
  private readonly forced: Int32Array;
  private readonly bannedAlways: Int32Array | null;
  private readonly emit: (token: number, text: string, logprob: DrawnLogprob | null) => void;

  /** Owns `grammar` from here on. @throws MillraceError CONFIG_INVALID for stop texts that cannot be used. */
  constructor(
    scope: GenerationScope,
    request: GenerationRequest,
    grammar: GrammarState | null,
    /** Takes every token in order; `output.end` is set already when it is the last. */
    emit: (token: number, text: string, logprob: DrawnLogprob | null) => void,
  ) {
    this.scope = scope;
    this.request = request;
    this.grammar = grammar;
    this.emit = emit;
    this.forced = request.forced ?? new Int32Array();
    const minTokens = this.forced.length + Math.max(1, request.minTokens);
    try {
      this.output = new Output(scope.texts, { ...request, minTokens });
    } catch (error) {
      grammar?.[Symbol.dispose]();
      throw error;
    }
    this.tokens = new Int32Array(request.prompt.length + request.maxTokens);
    this.tokens.set(request.prompt);
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = request.sampling;
    const penalised = repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    this.history = penalised ? new TokenHistory() : null;
    this.history?.addPrompt(request.prompt);
    this.history?.addPrompt(this.forced);
    this.bannedAlways = request.ignoreEos ? scope.endTokens : null;
    this.bannedEarly =
      request.minTokens > 1
        ? Int32Array.from(
            new Set([
              ...scope.endTokens,
              ...request.stopTokens.filter((token) => token >= 0 && token < scope.texts.size),
            ]),
          )
        : null;
  }

  take(logits: Float32Array, position: number): number {
    const { request, output } = this;
    const forced = this.forced[output.tokens];
    const token = forced ?? this.sample(logits, position);
    if (token === NO_TOKEN) return FAILED;
    this.tokens[position] = token;
    if (forced === undefined) this.history?.add(token);
    const text = output.push(token);
    const { end } = output;
    if (end === null && forced === undefined) this.grammar?.accept(token);
    const { logprobs } = request.sampling;
    this.emit(token, text, logprobs < 0 ? null : tokenLogprobs(logits, token, logprobs));
    return end === null ? GO_ON : end.reason === "length" ? LENGTH : STOP;
  }

  private sample(logits: Float32Array, position: number): number {
    const { request, output, scope } = this;
    // The same border as in Output: token number minTokens is the first that may end the output.
    const early = output.tokens - this.forced.length + 1 < request.minTokens;
    return scope.sampler.sample(
      logits,
      request.sampling,
      this.history,
      position,
      early ? this.bannedEarly : this.bannedAlways,
      this.grammar,
    );
  }

  /** Gives native memory of the grammar back. */
  [Symbol.dispose](): void {
    this.grammar?.[Symbol.dispose]();
  }
}
