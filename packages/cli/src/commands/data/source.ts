/** A data set as flags name it. */
import type { OpenOptions, SourceKind } from "@millrace/data";

export interface SourceFlags {
  readonly kind?: SourceKind;
  readonly payload?: string;
  readonly label?: string;
  readonly tokens?: number;
  readonly tokenBytes?: "2" | "4";
}

export function sourceOptions(path: string, flags: SourceFlags): OpenOptions {
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
