/** The program of the trainer's process. Ends with its parent. */
import { MillraceError } from "@millrace/core";
import { TrainerHost } from "./host.ts";
import type { FromTrainer, PlainError, ToTrainer } from "./protocol.ts";

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

const host = new TrainerHost((done, of, what) => post({ kind: "progress", done, of, what }));

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
