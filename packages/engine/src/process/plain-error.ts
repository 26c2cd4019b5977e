/** Errors across the process border: code, message and hint survive, stacks stay where they are of use. */
import { MillraceError } from "@millrace/core";
import type { PlainError } from "./protocol.ts";

export function plainError(error: unknown): PlainError {
  if (error instanceof MillraceError)
    return { code: error.code, message: error.message, hint: error.hint ?? null };
  return {
    code: null,
    message: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
    hint: null,
  };
}

/** The error again; one without a code is a bug on the other side and becomes ENGINE_FAILED. */
export function revivedError({ code, message, hint }: PlainError): MillraceError {
  return new MillraceError(code ?? "ENGINE_FAILED", message, hint === null ? {} : { hint });
}
