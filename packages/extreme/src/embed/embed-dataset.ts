/**
 * A data set whose points are the embeddings of another model: texts go through a GGUF model (a sentence encoder, or any other
 * that llama.cpp knows) and become `trn_X.f32` and `tst_X.f32`, to be trained on with `--features vectors`.
 */
import { copyFileSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { AtomicFileStream, ForkPool, makeFolder } from "@millrace/core/node";
import { readTexts } from "../data/texts.ts";
import { maxDim } from "../index/fixed-point.ts";
import type { EmbedInput, EmbedOutput } from "./embed-child.ts";

export interface EmbedOptions {
  /** A GGUF file. */
  readonly model: string;
  readonly out: string;
  /** Tokens of a text at most (default 128). */
  readonly tokens?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What was written. */
export interface Embedded {
  readonly dim: number;
  readonly texts: number;
  readonly files: readonly string[];
}

/** Texts of one job of the child. */
const chunk = 512;

const program = new URL(
  import.meta.url.endsWith(".ts") ? "./embed-child.ts" : "./embed-child.js",
  import.meta.url,
);

/**
 * Embeds the texts of `data` (trn_X.txt, tst_X.txt) into `out` and copies labels, label texts and filters beside them. Rejects with
 * FILE_UNREADABLE where there are no texts, CONFIG_INVALID for a model whose vectors cannot be used, GGML_FAILED where it ends.
 */
export async function embedDataset(data: string, options: EmbedOptions): Promise<Embedded> {
  const parts = ["trn_X", "tst_X"].flatMap((part) => {
    const file = [`${part}.txt`, `${part}.txt.gz`]
      .map((name) => join(data, name))
      .find((path) => existsSync(path));
    return file === undefined ? [] : [{ part, file }];
  });
  if (parts[0]?.part !== "trn_X")
    throw new MillraceError("FILE_UNREADABLE", `${data} holds no trn_X.txt, so no texts to embed`, {
      hint: "embeddings are made of raw text, a text a line",
    });
  if (!existsSync(options.model))
    throw new MillraceError("FILE_UNREADABLE", `${options.model} is not there`, {
      hint: "name a GGUF file of an embedding model",
    });
  const texts = await Promise.all(parts.map(({ file }) => readTexts(file)));
  const total = texts.reduce((sum, list) => sum + list.length, 0);
  makeFolder(options.out);
  // One child: the order of vectors is that of the texts, and the model is opened once.
  await using pool = new ForkPool<EmbedInput, EmbedOutput>({
    module: program,
    workers: 1,
    retries: 1,
  });
  let dim = 0;
  let done = 0;
  const files: string[] = [];
  for (const [p, { part }] of parts.entries()) {
    const list = texts[p] ?? [];
    const name = `${part}.f32`;
    using file = new AtomicFileStream(join(options.out, name));
    const jobs = Array.from({ length: Math.ceil(list.length / chunk) }, (_, i) => ({
      id: String(i),
      input: {
        model: options.model,
        texts: list.slice(i * chunk, (i + 1) * chunk),
        tokens: options.tokens ?? 128,
        threads: options.threads ?? 1,
      },
    }));
    for await (const outcome of pool.run(jobs, options.signal)) {
      if (!outcome.ok)
        throw new MillraceError("GGML_FAILED", `embedding failed: ${outcome.error}`, {
          hint: "millrace doctor shows whether libllama works here",
        });
      const { vectors } = outcome.value;
      dim = outcome.value.dim;
      if (dim % 8 !== 0 || dim > maxDim)
        throw new MillraceError(
          "CONFIG_INVALID",
          `${options.model} makes vectors of ${dim} dimensions`,
          { hint: `they must be a multiple of 8, at most ${maxDim}` },
        );
      file.write(new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength));
      done += vectors.length / dim;
      options.onProgress?.(done, total);
    }
    options.signal?.throwIfAborted();
    file.commit();
    files.push(name);
  }
  for (const name of readdirSync(data).sort())
    if (/^((trn|tst)_X_Y|Y|filter_labels_\w+|(trn|tst)_filter_labels)\.txt(\.gz)?$/.test(name)) {
      copyFileSync(join(data, name), join(options.out, name));
      files.push(name);
    }
  return { dim, texts: total, files };
}
