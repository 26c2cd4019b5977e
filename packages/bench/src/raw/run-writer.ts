/**
 * The raw file of a run: JSON Lines with the header first, one record a line as requests end, the end last. A file
 * without its end is a run that was killed; what it holds can still be scored.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import type { RequestRecord, RunEnd, RunHeader } from "../contracts.ts";
import { toFile } from "./file-record.ts";

/** Text that is gathered before it goes to the disk, characters. */
const BATCH = 1 << 16;

export class RunWriter {
  readonly path: string;
  private readonly fd: number;
  private waiting = "";

  /** Creates or replaces the file. Throws OUTPUT_UNWRITABLE when that cannot be done. */
  constructor(path: string, header: RunHeader) {
    this.path = path;
    try {
      this.fd = openSync(path, "w");
    } catch (error) {
      throw new MillraceError(
        "OUTPUT_UNWRITABLE",
        `${path} cannot be written: ${(error as Error).message}`,
        {
          hint: "name another file with --raw",
          cause: error,
        },
      );
    }
    this.line(header);
    this.flush();
  }

  record(record: RequestRecord): void {
    this.line(toFile(record));
    if (this.waiting.length >= BATCH) this.flush();
  }

  /** Writes the last line and closes. */
  end(end: RunEnd): void {
    this.line(end);
    this.flush();
    fsyncSync(this.fd);
    closeSync(this.fd);
  }

  /** Closes without an end: the run did not come to one. */
  abort(): void {
    this.flush();
    closeSync(this.fd);
  }

  private line(value: unknown): void {
    this.waiting += `${JSON.stringify(value)}\n`;
  }

  private flush(): void {
    if (this.waiting !== "") writeSync(this.fd, this.waiting);
    this.waiting = "";
  }
}
