/** Notices a step that does not end. One timer for all steps: arming costs two assignments. */
import type { Clock } from "@millrace/core";

export class Watchdog {
  private readonly clock: Clock;
  private readonly limitSeconds: number;
  private readonly expired: () => void;
  private since = -1;
  private timer: NodeJS.Timeout | null = null;

  /** `expired` is called once for a step that runs longer than `limitSeconds`. */
  constructor(clock: Clock, limitSeconds: number, expired: () => void) {
    this.clock = clock;
    this.limitSeconds = limitSeconds;
    this.expired = expired;
  }

  started(): void {
    this.since = this.clock.now();
    if (this.timer === null) this.arm(this.limitSeconds);
  }

  ended(): void {
    this.since = -1;
  }

  stop(): void {
    this.since = -1;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private arm(seconds: number): void {
    // Beyond 2^31 ms a timer would fire at once.
    this.timer = setTimeout(() => this.look(), Math.min(Math.max(1, seconds * 1000), 2 ** 31 - 1));
    this.timer.unref();
  }

  private look(): void {
    this.timer = null;
    if (this.since < 0) return;
    const left = this.since + this.limitSeconds - this.clock.now();
    if (left > 0) this.arm(left);
    else {
      this.since = -1;
      this.expired();
    }
  }
}
