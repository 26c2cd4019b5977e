/**
 * Vocabularies for made models: every byte has a token, so that any text can be written, and the rest are syllables, so
 * that texts come out shorter than their bytes and read like words. Two kinds: SentencePiece with byte fallback (llama)
 * and byte-level BPE (qwen).
 */
import { InvariantError } from "@millrace/core";
import type { MetadataValues } from "../write/header.ts";

/** ggml's token types. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const BYTE = 6;

const consonants = "bcdfghjklmnpqrstvwxyz";
const vowels = "aeiou";

/** Distinct syllables and words, the shortest first: each longer one is two earlier ones joined. */
function* joins(space: string): Generator<readonly [string, string]> {
  const syllables: string[] = [];
  for (const consonant of consonants)
    for (const vowel of vowels) {
      yield [consonant, vowel];
      syllables.push(consonant + vowel);
    }
  for (const syllable of syllables) yield [space, syllable];
  for (const first of syllables) for (const second of syllables) yield [first, second];
  throw new InvariantError("the vocabulary is larger than the syllables go round");
}

/** Metadata of a vocabulary of exactly `size` tokens; at least 400. */
export function vocabularyMetadata(kind: "spm" | "bpe", size: number): MetadataValues {
  return kind === "spm" ? sentencePiece(size) : bytePairs(size);
}

/** Ids of the control tokens, which are never likely: their output rows are kept small. */
export function controlTokens(kind: "spm" | "bpe", size: number): readonly number[] {
  return kind === "spm" ? [0, 1, 2] : [size - 3, size - 2, size - 1];
}

const llamaTemplate =
  "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

function sentencePiece(size: number): MetadataValues {
  const tokens = ["<unk>", "<s>", "</s>"];
  const types = [UNKNOWN, CONTROL, CONTROL];
  const scores = [0, 0, 0];
  for (let byte = 0; byte < 256; byte++) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    types.push(BYTE);
    scores.push(0);
  }
  // U+2581 stands for a space; single letters let the merges begin.
  const pieces = ["\u2581"];
  for (let code = 0x21; code < 0x7f; code++) pieces.push(String.fromCharCode(code));
  const joined = joins("\u2581");
  while (tokens.length + pieces.length < size) pieces.push(next(joined).join(""));
  for (const [rank, piece] of pieces.slice(0, size - tokens.length).entries()) {
    tokens.push(piece);
    types.push(NORMAL);
    // Higher scores merge first.
    scores.push(-rank);
  }
  return {
    "tokenizer.ggml.model": { type: "string", value: "llama" },
    "tokenizer.ggml.pre": { type: "string", value: "default" },
    "tokenizer.ggml.tokens": { type: "string[]", value: tokens },
    "tokenizer.ggml.scores": { type: "f32[]", value: scores },
    "tokenizer.ggml.token_type": { type: "i32[]", value: types },
    "tokenizer.ggml.bos_token_id": { type: "u32", value: 1 },
    "tokenizer.ggml.eos_token_id": { type: "u32", value: 2 },
    "tokenizer.ggml.unknown_token_id": { type: "u32", value: 0 },
    "tokenizer.ggml.add_bos_token": { type: "bool", value: true },
    "tokenizer.ggml.add_eos_token": { type: "bool", value: false },
    "tokenizer.ggml.add_space_prefix": { type: "bool", value: false },
    "tokenizer.chat_template": { type: "string", value: llamaTemplate },
  };
}

function bytePairs(size: number): MetadataValues {
  const symbols = byteSymbols();
  const tokens = [...symbols];
  const merges: string[] = [];
  const joined = joins(symbols[0x20] ?? "");
  const controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
  while (tokens.length < size - controls.length) {
    const [left, right] = next(joined);
    merges.push(`${left} ${right}`);
    tokens.push(left + right);
  }
  const types = tokens.map(() => NORMAL).concat(controls.map(() => CONTROL));
  tokens.push(...controls);
  return {
    "tokenizer.ggml.model": { type: "string", value: "gpt2" },
    "tokenizer.ggml.pre": { type: "string", value: "qwen2" },
    "tokenizer.ggml.tokens": { type: "string[]", value: tokens },
    "tokenizer.ggml.token_type": { type: "i32[]", value: types },
    "tokenizer.ggml.merges": { type: "string[]", value: merges },
    "tokenizer.ggml.bos_token_id": { type: "u32", value: size - 3 },
    "tokenizer.ggml.eos_token_id": { type: "u32", value: size - 1 },
    "tokenizer.ggml.padding_token_id": { type: "u32", value: size - 3 },
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
    "tokenizer.chat_template": { type: "string", value: chatMl },
  };
}

/** GPT-2's printable stand-in of each byte: printable Latin-1 as itself, the others from U+0100 on. */
function byteSymbols(): string[] {
  let other = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCodePoint(printable ? byte : other++);
  });
}

function next<T>(iterator: Iterator<T>): T {
  const { value, done } = iterator.next();
  if (done) throw new InvariantError("no further syllables");
  return value;
}
