/** Tokenizers as the load generator uses them: a tokenizer.json, or OpenAI's bundled vocabularies. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { MillraceError } from "@millrace/core";
import type { BenchTokenizer } from "../contracts.ts";

/** Vocabularies that gpt-tokenizer bundles and that people name. */
export const bundledVocabularies = ["o200k_base", "cl100k_base"] as const;

/** Reads a Hugging Face tokenizer.json, with tokenizer_config.json beside it. Throws FILE_UNREADABLE or CONFIG_INVALID. */
export async function huggingFaceTokenizer(path: string): Promise<BenchTokenizer> {
  const { Tokenizer } = await import("@huggingface/tokenizers");
  const read = (file: string): object => {
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      throw new MillraceError("FILE_UNREADABLE", `${file}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    try {
      return JSON.parse(text) as object;
    } catch (error) {
      throw new MillraceError(
        "CONFIG_INVALID",
        `${file} is not JSON: ${(error as Error).message}`,
        { cause: error },
      );
    }
  };
  const definition = read(path) as {
    readonly model?: { readonly vocab?: object | readonly unknown[] };
  };
  const beside = join(dirname(path), "tokenizer_config.json");
  const vocabulary = definition.model?.vocab;
  if (vocabulary === undefined)
    throw new MillraceError("CONFIG_INVALID", `${path} has no model.vocab`, {
      hint: "give the tokenizer.json of a model on Hugging Face",
    });
  const tokenizer = new Tokenizer(definition, existsSync(beside) ? read(beside) : {});
  return {
    name: `tokenizer.json of ${path}`,
    vocabularySize: Array.isArray(vocabulary) ? vocabulary.length : Object.keys(vocabulary).length,
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
    decode: (ids) => tokenizer.decode([...ids], { skip_special_tokens: false }),
  };
}

/** A bundled vocabulary. Throws ENVIRONMENT_MISSING where gpt-tokenizer is not installed. */
export async function bundledTokenizer(
  name: (typeof bundledVocabularies)[number],
): Promise<BenchTokenizer> {
  try {
    const encoding =
      name === "o200k_base"
        ? await import("gpt-tokenizer/encoding/o200k_base")
        : await import("gpt-tokenizer/encoding/cl100k_base");
    return {
      name,
      vocabularySize: name === "o200k_base" ? 199_998 : 100_256,
      // Text of a prompt is text, also where it looks like a control token.
      encode: (text) => encoding.encode(text, { disallowedSpecial: new Set() }),
      decode: (ids) => encoding.decode(ids),
    };
  } catch (error) {
    throw new MillraceError(
      "ENVIRONMENT_MISSING",
      `the vocabulary ${name} needs the package gpt-tokenizer`,
      {
        hint: "npm install gpt-tokenizer@4.0.0",
        cause: error,
      },
    );
  }
}
