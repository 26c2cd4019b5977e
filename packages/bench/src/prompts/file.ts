/** Prompts of a file: JSON Lines of {prompt | messages | text, output_tokens?}, or ShareGPT's array of conversations. */
import { readFileSync } from "node:fs";
import { MillraceError, Rng } from "@millrace/core";
import type { PromptSpec, ScheduledRequest } from "../contracts.ts";
import type { Message } from "../run/body.ts";
import type { PromptSource } from "./prompt-source.ts";

type FileSpec = Extract<PromptSpec, { type: "file" }>;

interface Row {
  readonly messages: readonly Message[];
  readonly outputTokens: number | null;
}

/** Answer length of rows that name none. */
const DEFAULT_OUTPUT = 128;

export class FilePrompts implements PromptSource {
  readonly lengths: { readonly promptTokens: Int32Array; readonly outputTokens: Int32Array };
  private readonly rows: readonly Row[];

  /** Reads the file. Throws FILE_UNREADABLE or CONFIG_INVALID with its line. */
  constructor(spec: FileSpec, seed: string) {
    const rows = readRows(spec);
    if (spec.order === "shuffled") new Rng(seed).fork("prompts").shuffle(rows);
    this.rows = rows;
    this.lengths = {
      promptTokens: new Int32Array(rows.length).fill(1),
      outputTokens: Int32Array.from(rows, ({ outputTokens }) => outputTokens ?? DEFAULT_OUTPUT),
    };
  }

  messages({ index }: ScheduledRequest): Promise<readonly Message[]> {
    const n = this.rows.length;
    // Warm-up has negative numbers; a file that is too short begins again.
    return Promise.resolve((this.rows[((index % n) + n) % n] as Row).messages);
  }
}

function readRows({ path, format }: FileSpec): Row[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new MillraceError("FILE_UNREADABLE", `${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const kind = format ?? (text.trimStart().startsWith("[") ? "sharegpt" : "jsonl");
  const rows = kind === "sharegpt" ? shareGpt(text, path) : jsonLines(text, path);
  if (rows.length === 0) throw wrong(path, null, "there is no prompt in it");
  return rows;
}

function wrong(path: string, line: number | null, what: string): MillraceError {
  return new MillraceError("CONFIG_INVALID", `${path}${line === null ? "" : `:${line}`} ${what}`, {
    hint: 'a line is {"prompt": "…", "output_tokens": 64}, or has messages or text instead of prompt',
  });
}

function jsonLines(text: string, path: string): Row[] {
  const rows: Row[] = [];
  text.split("\n").forEach((content, i) => {
    if (content.trim() === "") return;
    let value: Record<string, unknown>;
    try {
      value = JSON.parse(content) as Record<string, unknown>;
    } catch (error) {
      throw wrong(path, i + 1, `is not JSON: ${(error as Error).message}`);
    }
    if (typeof value !== "object" || value === null) throw wrong(path, i + 1, "is not an object");
    const { prompt, text: plain, messages, output_tokens: output } = value;
    if (output !== undefined && !(Number.isSafeInteger(output) && (output as number) > 0))
      throw wrong(
        path,
        i + 1,
        `output_tokens is ${JSON.stringify(output)}, not a whole number above 0`,
      );
    const outputTokens = (output as number | undefined) ?? null;
    const said = typeof prompt === "string" ? prompt : plain;
    if (Array.isArray(messages))
      rows.push({ messages: messagesOf(messages, path, i + 1), outputTokens });
    else if (typeof said === "string" && said !== "")
      rows.push({ messages: [{ role: "user", content: said }], outputTokens });
    else throw wrong(path, i + 1, "has neither prompt, text nor messages");
  });
  return rows;
}

function messagesOf(list: readonly unknown[], path: string, line: number): readonly Message[] {
  const messages = list.map((one) => {
    const { role, content } = (one ?? {}) as {
      readonly role?: unknown;
      readonly content?: unknown;
    };
    if (
      (role !== "user" && role !== "assistant" && role !== "system") ||
      typeof content !== "string"
    )
      throw wrong(path, line, "has a message without role (user, assistant, system) and content");
    return { role, content } as Message;
  });
  if (messages.length === 0) throw wrong(path, line, "has no messages");
  return messages;
}

/** First question of each conversation; its answer's length in words is not a token count, so none is taken from it. */
function shareGpt(text: string, path: string): Row[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw wrong(path, null, `is not JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(list)) throw wrong(path, null, "is not an array of conversations");
  return list.flatMap((one): Row[] => {
    const turns = (one as { readonly conversations?: unknown } | null)?.conversations;
    if (!Array.isArray(turns)) return [];
    const first = turns[0] as { readonly from?: unknown; readonly value?: unknown } | undefined;
    if (
      (first?.from !== "human" && first?.from !== "user") ||
      typeof first.value !== "string" ||
      first.value === ""
    )
      return [];
    return [{ messages: [{ role: "user", content: first.value }], outputTokens: null }];
  });
}
