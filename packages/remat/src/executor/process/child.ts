/** The program of the trainer's process. Ends with its parent. */
import { readSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { TrainerHost } from "./host.ts";
import { batchPipe, type FromTrainer, type PlainError, type ToTrainer } from "./protocol.ts";

function post(message: FromTrainer): void {
  // A parent that is gone ends this process through "disconnect".
  if (process.connected) process.send?.(message, undefined, {}, () => {});
}

function plain(error: unknown): PlainError {
  if (error instanceof MillraceError)
    return { code: error.code, message: error.message, hint: error.hint ?? null };
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { code: null, message, hint: null };
}

/** Blocks until the parent has sent so many bytes of a batch. */
function readBatch(into: Uint8Array): void {
  for (let at = 0; at < into.length; ) {
    const n = readSync(batchPipe, into, at, into.length - at, null);
    if (n === 0) process.exit(0); // The parent is gone.
    at += n;
  }
}

const host = new TrainerHost(readBatch, (done, of, what) =>
  post({ kind: "progress", done, of, what }),
);

process.on("disconnect", () => process.exit(0));
// Signals reach the whole terminal group; the parent decides when this process ends.
process.on("SIGINT", () => {});
process.on("message", ({ key, name, argument }: ToTrainer) => {
  try {
    post({ kind: "answer", key, value: host.answer(name, argument) });
  } catch (error) {
    post({ kind: "failure", key, error: plain(error) });
  }
});
