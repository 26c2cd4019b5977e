/** Keeps a failing member from costing every read a timeout: after some failures in a row nothing is asked for a while. */
import type { Clock } from "@millrace/core";

export interface BreakerOptions {
  /** Failures in a row that open it, default 3. */
  readonly failures?: number;
  /** Seconds until the first probe, doubled after each failed one up to `mostSeconds`; default 0.25 and 10. */
  readonly firstSeconds?: number;
  readonly mostSeconds?: number;
}

/** closed: all may ask; open: nobody; probing: one has asked and the others wait for what becomes of it. */
export type BreakerState = "closed" | "open" | "probing";

/** A state machine that reads time from the clock it is given. */
export class Breaker {
  private readonly clock: Clock;
  private readonly most: number;
  private readonly first: number;
  private readonly limit: number;
  private inARow = 0;
  private pause = 0;
  private retryAt = 0;
  private current: BreakerState = "closed";
  private openings = 0;

  constructor(clock: Clock, options: BreakerOptions = {}) {
    this.clock = clock;
    this.limit = options.failures ?? 3;
    this.first = options.firstSeconds ?? 0.25;
    this.most = options.mostSeconds ?? 10;
  }

  get state(): BreakerState {
    return this.current;
  }

  /** How often it opened. */
  get opened(): number {
    return this.openings;
  }

  /** Whether to ask the member now; the one that is let through an open breaker must report. */
  allows(): boolean {
    if (this.current === "closed") return true;
    if (this.current === "probing" || this.clock.now() < this.retryAt) return false;
    this.current = "probing";
    return true;
  }

  succeeded(): void {
    this.inARow = 0;
    this.pause = 0;
    this.current = "closed";
  }

  failed(): void {
    this.inARow++;
    // What was asked before it opened tells nothing new.
    if (this.current === "open") return;
    if (this.current === "closed" && this.inARow < this.limit) return;
    if (this.current === "closed") this.openings++;
    this.pause = this.pause === 0 ? this.first : Math.min(this.most, this.pause * 2);
    this.retryAt = this.clock.now() + this.pause;
    this.current = "open";
  }
}
