/** Model cards from model files: header only, a few milliseconds, nothing native. */
import { modelInfo, openGguf } from "@millrace/ggml/gguf";
import type { ModelCard } from "../contracts.ts";

/**
 * Reads the card of a GGUF file. `embeddings` is false here: whether pooled embeddings can be computed is for the
 * executor to say. Throws MillraceError FILE_UNREADABLE, GGUF_INVALID, SYSTEM_UNSUPPORTED.
 */
export function readModelCard(path: string): ModelCard {
  using gguf = openGguf(path);
  const { dim: _, fileBytes: __, formats: ___, ...card } = modelInfo(gguf);
  return { ...card, path: gguf.path, embeddings: false };
}
