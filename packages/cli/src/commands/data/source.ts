/** A data set as flags name it. */
import { contentHash, MillraceError } from "@millrace/core";
import { type OpenOptions, packText, type SourceKind, sourceKindOf } from "@millrace/data";
import { openTokenizer } from "../bench/tokenizer.ts";

export interface SourceFlags {
  readonly kind?: SourceKind;
  readonly payload?: string;
  readonly label?: string;
  readonly tokens?: number;
  readonly tokenBytes?: "2" | "4";
  readonly tokenizer?: string;
}

/** Text with a tokenizer is packed first, beside the file, and opened as tokens. Throws MillraceError. */
export async function sourceOptions(path: string, flags: SourceFlags): Promise<OpenOptions> {
  return flags.tokenizer === undefined ? named(path, flags) : await packed(path, flags);
}

async function packed(path: string, flags: SourceFlags): Promise<OpenOptions> {
  const { tokenizer: name, kind = sourceKindOf(path) } = flags;
  if (kind !== "text")
    throw new MillraceError("USAGE", `--tokenizer is for text, and ${path} is ${kind}`);
  const { tokenizer, close } = await openTokenizer(name);
  try {
    if (tokenizer === null) return named(path, flags);
    const small = tokenizer.vocabularySize <= 2 ** 16;
    const tokenBytes = flags.tokenBytes ?? (small ? "2" : "4");
    const out = `${path}.${contentHash(`${tokenizer.name} ${tokenBytes}`).slice(0, 8)}.tokens.bin`;
    await packText(path, (text) => tokenizer.encode(text), {
      out,
      width: tokenBytes === "4" ? 4 : 2,
    });
    return named(out, { ...flags, kind: "tokens", tokenBytes });
  } finally {
    close();
  }
}

function named(path: string, flags: SourceFlags): OpenOptions {
  const { kind, payload, label, tokens, tokenBytes } = flags;
  return {
    path,
    ...(kind !== undefined && { kind }),
    ...(payload !== undefined && { payload }),
    ...(label !== undefined && { label }),
    ...(tokens !== undefined && { tokens }),
    ...(tokenBytes !== undefined && { tokenBytes: tokenBytes === "4" ? 4 : 2 }),
  };
}
