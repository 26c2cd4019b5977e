/** The tokenizer that `--tokenizer` names. */
import type { BenchTokenizer } from "@millrace/bench";
import { MillraceError } from "@millrace/core";

/**
 * A GGUF file's vocabulary, a tokenizer.json, or a bundled vocabulary; `close` lets go of it. Null when none is named.
 * Throws USAGE, and what reading throws.
 */
export async function openTokenizer(
  name: string | undefined,
): Promise<{ readonly tokenizer: BenchTokenizer | null; close(): void }> {
  const nothing = (): void => {};
  if (name === undefined) return { tokenizer: null, close: nothing };
  const { bundledTokenizer, bundledVocabularies, huggingFaceTokenizer } = await import(
    "@millrace/bench"
  );
  const bundled = bundledVocabularies.find((vocabulary) => vocabulary === name);
  if (bundled !== undefined) return { tokenizer: await bundledTokenizer(bundled), close: nothing };
  if (name.endsWith(".json"))
    return { tokenizer: await huggingFaceTokenizer(name), close: nothing };
  if (name.endsWith(".gguf")) return ggufTokenizer(name);
  throw new MillraceError("USAGE", `--tokenizer: ${JSON.stringify(name)} is not understood`, {
    hint: `name a model.gguf, a tokenizer.json, or one of ${bundledVocabularies.join(", ")}`,
  });
}

async function ggufTokenizer(path: string): Promise<{ tokenizer: BenchTokenizer; close(): void }> {
  const { LlamaModel } = await import("@millrace/ggml/llama");
  const model = new LlamaModel(path, { vocabularyOnly: true });
  const { vocabulary } = model;
  const tokenizer: BenchTokenizer = {
    name: `vocabulary of ${path}`,
    vocabularySize: vocabulary.size,
    encode: (text) => [...vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false })],
    decode: (ids) => vocabulary.detokenize(Int32Array.from(ids)),
  };
  return { tokenizer, close: () => model[Symbol.dispose]() };
}
