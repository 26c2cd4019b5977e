/** The refusal of models whose graphs are not written here. */
import { MillraceError } from "@millrace/core";

/** Throws MODEL_UNSUPPORTED for a model that these graphs would compute wrongly. */
export function unsupported(architecture: string, why: string): never {
  throw new MillraceError(
    "MODEL_UNSUPPORTED",
    `the ggml executor does not compute this ${architecture} model: ${why}`,
    { hint: "start with --executor libllama, which runs every model that llama.cpp knows" },
  );
}
