/** One streamed answer of the mock, in the words of OpenAI's API. */
import type { ServerResponse } from "node:http";
import type { MockRequest } from "./batch.ts";
import type { ResolvedMock } from "./options.ts";

/** What a body asks for, as far as the mock reads it. */
export interface MockBody {
  readonly chat: boolean;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly choices: number;
  readonly includeUsage: boolean;
}

const words = ["the", "mill", "race", "turns", "and", "grinds", "all", "day"];

/** The words of so many tokens from the n-th on; a token is a word with its blank. */
function textOf(from: number, count: number): string {
  let text = "";
  for (let i = from; i < from + count; i++) text += `${words[i % words.length]} `;
  return text;
}

export class MockStream implements MockRequest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  gone = false;
  private readonly body: MockBody;
  private readonly options: ResolvedMock;
  private readonly response: ServerResponse;
  /** Tokens after which the connection is reset, or an error is told; -1 = never. */
  private readonly breakAt: { readonly reset: number; readonly error: number };
  private readonly head: string;
  private readonly startedMs = performance.now();
  private sent = 0;

  constructor(
    id: string,
    body: MockBody,
    options: ResolvedMock,
    response: ServerResponse,
    breakAt: { readonly reset: number; readonly error: number },
  ) {
    this.body = body;
    this.options = options;
    this.response = response;
    this.breakAt = breakAt;
    this.promptTokens = body.promptTokens;
    this.outputTokens = body.outputTokens;
    const object = body.chat ? "chat.completion.chunk" : "text_completion";
    const created = Math.floor(Date.now() / 1000);
    this.head = `data: {"id":"${id}","object":"${object}","created":${created},"model":${JSON.stringify(options.model)},"choices":[{"index":`;
    response.on("close", () => {
      this.gone = true;
    });
    if (body.chat)
      this.write(
        (index) =>
          `${this.head}${index},"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n`,
      );
  }

  emit(tokens: number, last: boolean): void {
    const text = textOf(this.sent, tokens);
    this.sent += tokens;
    if (this.breakAt.reset >= 0 && this.sent > this.breakAt.reset) {
      this.gone = true;
      this.response.socket?.resetAndDestroy();
      return;
    }
    if (this.breakAt.error >= 0 && this.sent > this.breakAt.error) {
      this.gone = true;
      this.response.end(
        'data: {"error":{"message":"the mock failed here on purpose","type":"server_error","code":null}}\n\ndata: [DONE]\n\n',
      );
      return;
    }
    const extra = this.extra();
    const show = this.body.chat ? `"delta":{"content":"${text}"}` : `"text":"${text}"`;
    this.write((index) => `${this.head}${index},${show},"finish_reason":null}]${extra}}\n\n`);
    if (last) this.end();
  }

  private write(chunk: (index: number) => string): void {
    let all = "";
    for (let index = 0; index < this.body.choices; index++) all += chunk(index);
    this.response.write(all);
  }

  private extra(): string {
    const { usage, serverTimes } = this.options;
    const parts: string[] = [];
    if (usage === "every") parts.push(`"usage":${this.usage()}`);
    if (serverTimes)
      parts.push(
        `"millrace":{"token_us":${Math.round((performance.now() - this.startedMs) * 1000)}}`,
      );
    return parts.map((part) => `,${part}`).join("");
  }

  private usage(): string {
    const completion = this.sent * this.body.choices;
    return `{"prompt_tokens":${this.promptTokens},"completion_tokens":${completion},"total_tokens":${this.promptTokens + completion}}`;
  }

  private end(): void {
    const empty = this.body.chat ? '"delta":{}' : '"text":""';
    this.write((index) => `${this.head}${index},${empty},"finish_reason":"length"}]}\n\n`);
    if (this.body.includeUsage && this.options.usage !== "none")
      this.response.write(
        `${this.head.slice(0, this.head.lastIndexOf('"choices"'))}"choices":[],"usage":${this.usage()}}\n\n`,
      );
    this.response.end("data: [DONE]\n\n");
  }
}
