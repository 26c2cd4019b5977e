/** Admission control: how many choices may be in the engine, and when a refused client should come again. */
import { ApiError } from "./api-error.ts";

const windowSeconds = 60;
const windowCompletions = 256;
const longestWaitSeconds = 120;

/** A place in the engine for some choices of one request. */
export interface Admitted {
  /** Tokens that came out. */
  progress(tokens: number): void;
  /** One choice has ended. */
  choiceEnded(): void;
  /** Gives back what is left; may be called twice. */
  leave(): void;
}

/** Counts choices in flight and measures how fast they leave. `nowSeconds` is any monotonic clock. */
export class Admission {
  readonly #limit: number;
  readonly #nowSeconds: () => number;
  /** Times at which choices ended, oldest first. */
  readonly #ends: number[] = [];
  #inFlight = 0;
  /** Tokens that choices in flight may still bring. */
  #remainingTokens = 0;
  #generated = 0;
  readonly #startSeconds: number;

  constructor(limit: number, nowSeconds: () => number) {
    this.#limit = limit;
    this.#nowSeconds = nowSeconds;
    this.#startSeconds = nowSeconds();
  }

  /** Choices in the engine now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Throws 429 with Retry-After where `choices` would not be let in now; takes no places. */
  check(choices: number): void {
    if (this.#inFlight + choices <= this.#limit) return;
    const seconds = this.retryAfterSeconds(choices);
    throw new ApiError(
      429,
      `The server is at its limit: ${this.#inFlight} of ${this.#limit} choices in flight, ${choices} more wanted. Try again in ${seconds} s.`,
      { code: "server_overloaded", retryAfterSeconds: seconds },
    );
  }

  /** Takes `choices` places of up to `maxTokens` each, or throws 429 with Retry-After. */
  enter(choices: number, maxTokens: number): Admitted {
    this.check(choices);
    this.#inFlight += choices;
    let open = choices;
    let tokens = choices * maxTokens;
    this.#remainingTokens += tokens;
    const give = (places: number) => {
      const taken = Math.min(places, open);
      const share = open === taken ? tokens : Math.min(tokens, taken * maxTokens);
      open -= taken;
      tokens -= share;
      this.#inFlight -= taken;
      this.#remainingTokens -= share;
    };
    return {
      progress: (count) => {
        const taken = Math.min(count, tokens);
        tokens -= taken;
        this.#remainingTokens -= taken;
        this.#generated += count;
      },
      choiceEnded: () => {
        if (open === 0) return;
        give(1);
        this.#ends.push(this.#nowSeconds());
        if (this.#ends.length > windowCompletions) this.#ends.shift();
      },
      leave: () => give(open),
    };
  }

  /**
   * Whole seconds after which `choices` places should be free: by the rate at which choices ended in the last minute,
   * before any has ended by the rate of tokens, and 1 where nothing is known. 1 … 120.
   */
  retryAfterSeconds(choices = 1): number {
    const now = this.#nowSeconds();
    while ((this.#ends[0] ?? now) < now - windowSeconds) this.#ends.shift();
    const wanted = Math.max(1, this.#inFlight + choices - this.#limit);
    const first = this.#ends[0];
    let seconds = 1;
    if (first !== undefined) {
      seconds = (wanted * Math.max(now - first, 1e-3)) / this.#ends.length;
    } else if (this.#generated > 0 && this.#inFlight > 0) {
      const tokensPerSecond = this.#generated / Math.max(now - this.#startSeconds, 1e-3);
      seconds = ((this.#remainingTokens / this.#inFlight) * wanted) / tokensPerSecond;
    }
    return Math.min(longestWaitSeconds, Math.max(1, Math.ceil(seconds)));
  }
}
