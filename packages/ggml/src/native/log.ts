/**
 * ggml's log. Native threads may log at any time, and a JavaScript callback may only run on the main thread, so no such
 * callback is left installed: normally the log goes to a native function that does nothing, and only the body of
 * `captureLog` (synchronous, on the main thread) listens.
 */
import { koffi } from "@millrace/system";

type SetLog = (callback: bigint | null, data: null) => void;

const errorLevel = 4;
const continueLevel = 5;

let setters: SetLog[] = [];
let silence: bigint | null = null;
let listener: bigint | null = null;
let lastError = "";
let atError = false;

function hear(level: number, text: string): void {
  if (level !== continueLevel) atError = level === errorLevel;
  if (!atError) return;
  const line = text.trim();
  if (line !== "") lastError = level === continueLevel ? `${lastError} ${line}`.trim() : line;
}

function install(callback: bigint | null): void {
  for (const set of setters) set(callback, null);
}

/** Adds a `*_log_set` function; `noop` is a native function without arguments and effects. */
export function addLog(set: SetLog, noop: bigint): void {
  silence = noop;
  setters = [...setters, set];
  set(silence, null);
}

/** Runs `body` (synchronous native calls) and keeps the last error line that it logged for `lastLoggedError`. */
export function captureLog<T>(body: () => T): T {
  lastError = "";
  atError = false;
  listener ??= koffi.register(
    hear,
    koffi.pointer(koffi.proto("millrace_log", "void", ["int", "str", "void *"])),
  );
  install(listener);
  try {
    return body();
  } finally {
    install(silence);
  }
}

/** The last error line of the last `captureLog`, or "". */
export function lastLoggedError(): string {
  return lastError;
}
