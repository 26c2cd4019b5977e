/** A file of JSON lines that is written while the engine runs: the decision log and the timing log. */
import { createWriteStream, openSync, type WriteStream } from "node:fs";
import { dirname } from "node:path";
import { MillraceError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";

export class LineFile {
  private readonly stream: WriteStream;
  private failed = false;

  /** @throws MillraceError OUTPUT_UNWRITABLE when the file cannot be made. */
  constructor(path: string) {
    try {
      makeFolder(dirname(path));
      this.stream = createWriteStream(path, { fd: openSync(path, "w") });
    } catch (cause) {
      throw new MillraceError("OUTPUT_UNWRITABLE", `the log ${path} cannot be written`, {
        hint: "name a file in a folder that this user may write",
        cause,
      });
    }
    // A log on a full disk ends; the engine goes on.
    this.stream.on("error", () => {
      this.failed = true;
    });
  }

  /** Appends one value a line; returns without waiting. */
  write(values: readonly unknown[]): void {
    if (this.failed || values.length === 0) return;
    this.stream.write(`${values.map((value) => JSON.stringify(value)).join("\n")}\n`);
  }

  /** Resolves when all lines are in the file. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.stream.once("close", resolve);
      this.stream.end();
      if (this.failed) resolve();
    });
  }
}
