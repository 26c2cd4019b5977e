/** Computes embeddings of texts with libllama, in a child process: ggml ends the process where it cannot go on. */
import { MillraceError } from "@millrace/core";
import { openGguf } from "@millrace/ggml/gguf";
import { LlamaBatch, LlamaContext, LlamaModel } from "@millrace/ggml/llama";

export interface EmbedInput {
  readonly model: string;
  readonly texts: readonly string[];
  /** Tokens of a text at most; what is beyond is left out. */
  readonly tokens: number;
  readonly threads: number;
}

/** Vectors of norm 1, texts × dim; a text without tokens has zeros. */
export interface EmbedOutput {
  readonly dim: number;
  readonly vectors: Float32Array;
}

/** Texts that are computed together. */
const together = 16;

/** llama.cpp's number for pooling by the last token; others are computed as means. */
const lastToken = 3;

interface Opened {
  readonly path: string;
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  readonly tokens: number;
}
let opened: Opened | null = null;

function open({ model: path, tokens, threads }: EmbedInput): Opened {
  if (opened !== null && opened.path === path) return opened;
  using file = openGguf(path);
  const architecture = file.metadata.string("general.architecture");
  const key = (name: string): string => `${architecture}.${name}`;
  const known = (name: string): boolean => file.metadata.describe(key(name)) !== undefined;
  const longest = known("context_length") ? file.metadata.number(key("context_length")) : tokens;
  const pooling =
    known("pooling_type") && file.metadata.number(key("pooling_type")) === lastToken
      ? "last"
      : "mean";
  const most = Math.min(tokens, longest);
  const model = new LlamaModel(path);
  const context = new LlamaContext(model, {
    sequences: together,
    sequenceTokens: most,
    // A text must be computed whole, or its mean is that of a part: one pass for texts of all lengths.
    batchTokens: together * most,
    unified: true,
    threads,
    pooling,
    allOutputs: true,
  });
  opened = { path, model, context, tokens: most };
  return opened;
}

export function run(input: EmbedInput): EmbedOutput {
  const { model, context, tokens } = open(input);
  const dim = model.embeddingLength;
  const vectors = new Float32Array(input.texts.length * dim);
  for (let first = 0; first < input.texts.length; first += together) {
    const texts = input.texts.slice(first, first + together);
    const lists = texts.map((text) =>
      model.vocabulary.tokenize(text, { addSpecial: true, parseSpecial: false }).slice(0, tokens),
    );
    const batch = new LlamaBatch(
      Math.max(
        lists.reduce((sum, list) => sum + list.length, 0),
        1,
      ),
    );
    lists.forEach((list, sequence) => {
      list.forEach((token, position) => {
        batch.add(token, position, sequence, true);
      });
    });
    if (batch.tokens === 0) continue;
    context.clear();
    context.decode(batch);
    lists.forEach((list, sequence) => {
      if (list.length > 0) unit(context.embedding(sequence), vectors, (first + sequence) * dim);
    });
  }
  return { dim, vectors };
}

function unit(vector: Float32Array, to: Float32Array, at: number): void {
  let square = 0;
  for (const value of vector) square += value * value;
  if (!Number.isFinite(square))
    throw new MillraceError("GGML_FAILED", "the model gives vectors that are not finite");
  const scale = square === 0 ? 0 : 1 / Math.sqrt(square);
  for (let j = 0; j < vector.length; j++) to[at + j] = (vector[j] as number) * scale;
}
