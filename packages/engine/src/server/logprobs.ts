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
  readonly bytes: number[];
  readonly top_logprobs: { token: string; logprob: number; bytes: number[] }[];
}

/** JSON has no -Infinity; the API's own floor stands for it. */
const floor = (logprob: number) => (Number.isFinite(logprob) ? logprob : -9999);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOrNull(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/**
 * A name for a token that no other token of a list has: its text; `bytes:\xe2\x82` where it is only a part of a
 * character, and `token_id:7` where it has no text or ids are wanted.
 */
function nameOf(token: number, bytes: Uint8Array, asIds: boolean): string {
  if (asIds || bytes.length === 0) return `token_id:${token}`;
  return (
    textOrNull(bytes) ??
    `bytes:${[...bytes].map((b) => `\\x${b.toString(16).padStart(2, "0")}`).join("")}`
  );
}

async function bytesOf(entries: Entries, pieces: TokenPieces): Promise<Map<number, Uint8Array>> {
  const ids = entries.flatMap((entry) => [entry.token, ...entry.top.map((top) => top.token)]);
  const bytes = await pieces.of(ids);
  return new Map(ids.map((id, i) => [id, bytes[i] ?? new Uint8Array()]));
}

/** Writes the completions form for one choice, in pieces as its tokens come. */
export class CompletionLogprobWriter {
  readonly #pieces: TokenPieces;
  readonly #asIds: boolean;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #offset = 0;

  constructor(pieces: TokenPieces, asIds: boolean) {
    this.#pieces = pieces;
    this.#asIds = asIds;
  }

  /** The lists of a prompt's first token, which has no logprob. */
  async first(token: number): Promise<CompletionLogprobs> {
    const lists = await this.write([{ token, logprob: 0, top: [] }]);
    return { ...lists, token_logprobs: [null], top_logprobs: [null] };
  }

  /** The lists of the next tokens. Must not be called again before it has resolved. */
  async write(entries: Entries): Promise<CompletionLogprobs> {
    const bytes = await bytesOf(entries, this.#pieces);
    const name = (token: number) =>
      nameOf(token, bytes.get(token) ?? new Uint8Array(), this.#asIds);
    return {
      tokens: entries.map((entry) => name(entry.token)),
      token_logprobs: entries.map((entry) => floor(entry.logprob)),
      top_logprobs: entries.map((entry) =>
        entry.top.length === 0
          ? null
          : Object.fromEntries(entry.top.map((top) => [name(top.token), floor(top.logprob)])),
      ),
      text_offset: entries.map((entry) => {
        const start = this.#offset;
        this.#offset += this.#decoder.decode(bytes.get(entry.token), { stream: true }).length;
        return start;
      }),
    };
  }
}

/** Lists one after the other. */
export function joinedLogprobs(lists: readonly CompletionLogprobs[]): CompletionLogprobs {
  return {
    tokens: lists.flatMap((one) => one.tokens),
    token_logprobs: lists.flatMap((one) => one.token_logprobs),
    top_logprobs: lists.flatMap((one) => one.top_logprobs),
    text_offset: lists.flatMap((one) => one.text_offset),
  };
}

/** Chat form. `bytes` are exact, also where a token is only a part of a character. */
export async function chatLogprobs(
  entries: Entries,
  pieces: TokenPieces,
  asIds = false,
): Promise<ChatLogprob[]> {
  const bytes = await bytesOf(entries, pieces);
  const one = ({ token, logprob }: TokenLogprob) => {
    const own = bytes.get(token) ?? new Uint8Array();
    const text = asIds || own.length === 0 ? nameOf(token, own, true) : Buffer.from(own).toString();
    return { token: text, logprob: floor(logprob), bytes: [...own] };
  };
  return entries.map((entry) => ({ ...one(entry), top_logprobs: entry.top.map(one) }));
}
