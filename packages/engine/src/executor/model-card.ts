/** Model cards from model files: header only, a few milliseconds, nothing native. */
import { type Gguf, modelInfo, openGguf } from "@millrace/ggml/gguf";
import type { ModelCard } from "../contracts.ts";

/** llama.cpp's numbers of the ways to pool that give one vector per text. */
const poolings: Readonly<Record<number, "mean" | "last">> = { 1: "mean", 3: "last" };

/**
 * Reads the card of a GGUF file. Models that are made for embeddings say so by a pooling in their file. Throws
 * MillraceError FILE_UNREADABLE, GGUF_INVALID, SYSTEM_UNSUPPORTED.
 */
export function readModelCard(path: string): ModelCard {
  using gguf = openGguf(path);
  const { dim: _, fileBytes: __, formats: ___, ...card } = modelInfo(gguf);
  return { ...card, path: gguf.path, embeddings: poolingIn(gguf) !== null };
}

/** How the model of a file pools its states into one vector, null when it does not say. */
export function readPooling(path: string): "mean" | "last" | null {
  using gguf = openGguf(path);
  return poolingIn(gguf);
}

function poolingIn(gguf: Gguf): "mean" | "last" | null {
  const architecture = gguf.metadata.string("general.architecture");
  const key = `${architecture}.pooling_type`;
  return gguf.metadata.describe(key) === undefined
    ? null
    : (poolings[gguf.metadata.number(key)] ?? null);
}
