/** Logprobs in the two forms of OpenAI's API: lists side by side (completions), and one entry per token (chat). */
import type { GenerateEvent, TokenLogprob } from "../contracts.ts";
import type { TokenPieces } from "./pieces.ts";

type Entries = Extract<GenerateEvent, { type: "tokens" }>["logprobs"];

/** Lists of the completions API, all as long as the tokens. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  readonly text_offset: number[];
}

/** One entry of the chat API. */
export interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[] | null;
  readonly top_logprobs: { token: string; logprob: number; bytes: number[] | null }[];
}

/** JSON has no -Infinity; the API's own floor stands for it. */
const floor = (logprob: number) => (Number.isFinite(logprob) ? logprob : -9999);

async function textsOf(entries: Entries, pieces: TokenPieces): Promise<Map<number, string>> {
  const ids = entries.flatMap((entry) => [entry.token, ...entry.top.map((top) => top.token)]);
  const texts = await pieces.of(ids);
  return new Map(ids.map((id, i) => [id, texts[i] ?? ""]));
}

/** Completions form; `offset` is the characters of text before the first of these tokens. */
export async function completionLogprobs(
  entries: Entries,
  pieces: TokenPieces,
  offset: number,
): Promise<CompletionLogprobs> {
  const texts = await textsOf(entries, pieces);
  const text = (token: number) => texts.get(token) ?? "";
  let at = offset;
  return {
    tokens: entries.map((entry) => text(entry.token)),
    token_logprobs: entries.map((entry) => floor(entry.logprob)),
    top_logprobs: entries.map((entry) =>
      entry.top.length === 0
        ? null
        : Object.fromEntries(entry.top.map((top) => [text(top.token), floor(top.logprob)])),
    ),
    text_offset: entries.map((entry) => {
      const start = at;
      at += text(entry.token).length;
      return start;
    }),
  };
}

/** Chat form. `bytes` is null where the token is only a part of a character. */
export async function chatLogprobs(entries: Entries, pieces: TokenPieces): Promise<ChatLogprob[]> {
  const texts = await textsOf(entries, pieces);
  const one = ({ token, logprob }: TokenLogprob) => {
    const text = texts.get(token) ?? "";
    const bytes = text.includes("\ufffd") ? null : [...Buffer.from(text)];
    return { token: text, logprob: floor(logprob), bytes };
  };
  return entries.map((entry) => ({ ...one(entry), top_logprobs: entry.top.map(one) }));
}
