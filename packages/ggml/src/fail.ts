/** The two ways a call into ggml goes wrong: operands it would abort on, and a native function that reports failure. */
import { MillraceError } from "@millrace/core";
import { lastLoggedError } from "./native/log.ts";

/** Throws GGML_SHAPE: the operands of `op` do not fit. ggml itself would abort the process. */
export function badOperands(op: string, why: string): never {
  throw new MillraceError("GGML_SHAPE", `${op}: ${why}`, {
    hint: "the shapes of the operands are in the message; dimensions are listed fastest first",
  });
}

/** Throws GGML_FAILED with what ggml logged last. */
export function nativeFailure(what: string): never {
  const logged = lastLoggedError();
  throw new MillraceError("GGML_FAILED", logged === "" ? what : `${what}: ${logged}`, {
    hint: "usually memory ran out; a smaller model, context or batch needs less",
  });
}

/** The address, or GGML_FAILED when it is NULL. */
export function addressOf(address: bigint | null, what: string): bigint {
  if (address === null) nativeFailure(`${what} failed`);
  return address;
}
