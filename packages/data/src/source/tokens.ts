/**
 * Tokens for language models. Packed shards (.bin: little endian u16 or u32, documents one after the other) are cut into
 * windows of equal length; a plain text file becomes such a shard of bytes or of a tokenizer's tokens first.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";
import { ExtentList, ExtentSource } from "./extent-source.ts";
import { shardFiles } from "./shards.ts";

export interface TokenOptions {
  /** Bytes of a token in the file, default 2. */
  readonly width?: 2 | 4;
  /** Tokens of a sample; one more than the context, when inputs and targets are cut from it. */
  readonly length: number;
  /** Tokens between the starts of two samples; default length: no overlap. */
  readonly stride?: number;
}

/** Opens a .bin shard or a folder of them. The rest of a shard that fills no window is left out. */
export function openTokens(path: string, options: TokenOptions): ExtentSource {
  const { width = 2, length, stride = length } = options;
  const list = new ExtentList();
  for (const shard of shardFiles(path, [".bin"])) {
    if (shard.bytes % width !== 0)
      throw new MillraceError(
        "DATA_INVALID",
        `${shard.name}: ${shard.bytes} bytes are no whole number of ${width}-byte tokens`,
        { at: { file: shard.path } },
      );
    list.files.push(shard);
    for (let at = 0; at + width * length <= shard.bytes; at += width * stride)
      list.add(at, width * length);
  }
  return new ExtentSource({ kind: "tokens", path, list });
}

/** Turns text into token numbers; what the tokenizers of the engine offer. */
export type Tokenize = (text: string) => ArrayLike<number> | Promise<ArrayLike<number>>;

/** The bytes of UTF-8 as tokens 0 … 255: a tokenizer that every machine has. */
export const byteTokens: Tokenize = (text) => Buffer.from(text, "utf8");

/**
 * Packs a text file into `path.tokens.bin` (u16, or u32 when `width` says so), documents separated by `separator`, unless
 * that file is newer already; documents end at blank lines. Throws MillraceError DATA_INVALID when a token does not fit.
 */
export async function packText(
  path: string,
  tokenize: Tokenize = byteTokens,
  options: { readonly width?: 2 | 4; readonly separator?: number; readonly out?: string } = {},
): Promise<string> {
  const { width = 2, separator = 0, out = `${path}.tokens.bin` } = options;
  if (existsSync(out) && statSync(out).mtimeMs > statSync(path).mtimeMs) return out;
  const most = width === 2 ? 0xffff : 0x7fffffff;
  using stream = new AtomicFileStream(out);
  const documents = readFileSync(path, "utf8").split(/\n[ \t\r]*\n\s*/);
  for (const document of documents) {
    if (document.trim() === "") continue;
    const tokens = await tokenize(document);
    const packed = Buffer.alloc(width * (tokens.length + 1));
    for (let i = 0; i <= tokens.length; i++) {
      const token = i < tokens.length ? (tokens[i] as number) : separator;
      if (!(token >= 0 && token <= most))
        throw new MillraceError(
          "DATA_INVALID",
          `${path}: token ${token} does not fit into ${width} bytes`,
          {
            hint: "pack with 4 bytes per token",
          },
        );
      if (width === 2) packed.writeUInt16LE(token, 2 * i);
      else packed.writeUInt32LE(token, 4 * i);
    }
    stream.write(packed);
  }
  stream.commit();
  return out;
}
