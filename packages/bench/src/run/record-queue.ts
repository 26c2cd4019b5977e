/** Records on their way from a run to its reader: an unbounded queue with one reader. */
import type { RequestRecord } from "../contracts.ts";

export class RecordQueue {
  private readonly records: RequestRecord[] = [];
  private closed = false;
  private error: unknown = null;
  private wake: () => void = () => {};

  push(record: RequestRecord): void {
    this.records.push(record);
    this.wake();
  }

  /** No more records come; those that are there are still read. */
  close(): void {
    this.closed = true;
    this.wake();
  }

  /** The reader gets this error behind the records that are there. */
  fail(error: unknown): void {
    this.error ??= error;
    this.close();
  }

  /** `left` is called when the reader leaves before the end. */
  async *read(left: () => void): AsyncGenerator<RequestRecord> {
    try {
      for (;;) {
        const record = this.records.shift();
        if (record !== undefined) yield record;
        else if (this.error !== null) throw this.error;
        else if (this.closed) return;
        else
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
      }
    } finally {
      if (!this.closed) left();
    }
  }
}
