/** A block of lines that is drawn over itself in a terminal. */
import type { OutputStream } from "../session.ts";

export class LiveBlock {
  private readonly stream: OutputStream;
  private drawn = 0;
  private last = 0;
  private readonly now: () => number;

  /** `now` in milliseconds. */
  constructor(stream: OutputStream, now: () => number) {
    this.stream = stream;
    this.now = now;
  }

  /** Draws the lines in place of the last ones, at most four times a second. */
  draw(lines: readonly string[]): void {
    if (this.drawn > 0 && this.now() - this.last < 250) return;
    this.last = this.now();
    this.clear();
    this.stream.write(`${lines.join("\n")}\n`);
    this.drawn = lines.length;
  }

  /** Takes the block away, so that something else can be printed. */
  clear(): void {
    if (this.drawn > 0) this.stream.write(`\u001b[${this.drawn}A\u001b[J`);
    this.drawn = 0;
  }
}
