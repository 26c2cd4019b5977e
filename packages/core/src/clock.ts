/** Clocks. Pure layers are handed one and never look at the machine's. */
import { invariant } from "./errors.ts";

/** Tells the time in seconds from the start of the run; never goes back. */
export interface Clock {
  now(): number;
}

/** A clock that moves only when told to: simulations and tests. */
export class VirtualClock implements Clock {
  private seconds = 0;

  now(): number {
    return this.seconds;
  }

  /** Moves to `seconds`, which must not be earlier than now. */
  advanceTo(seconds: number): void {
    invariant(
      seconds >= this.seconds,
      `the clock is at ${this.seconds} s and cannot go to ${seconds} s`,
    );
    this.seconds = seconds;
  }

  /** Moves by `seconds`, at least 0. */
  advance(seconds: number): void {
    this.advanceTo(this.seconds + seconds);
  }
}

/** The machine's monotonic clock, 0 when made. */
export class WallClock implements Clock {
  private readonly start = performance.now();

  now(): number {
    return (performance.now() - this.start) / 1000;
  }
}
