/** One streamed answer of the mock, in the words of OpenAI's API. */
import type { ServerResponse } from "node:http";
import type { MockRequest, StepTimes } from "./batch.ts";
import type { MockStall, ResolvedMock } from "./options.ts";
import { MockTimeline } from "./timeline.ts";

/** What a body asks for, as far as the mock reads it. */
export interface MockBody {
  readonly chat: boolean;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly choices: number;
  readonly includeUsage: boolean;
  readonly includeTimings: boolean;
}

/** Text on its way out. */
interface Outgoing {
  readonly text: string;
  readonly atMs: number;
  readonly last: boolean;
}

const noStalls = { frontendMs: 0, networkMs: 0 };

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
  private readonly timeline: MockTimeline | null;
  /** Waiting for their time, in order. */
  private readonly outgoing: Outgoing[] = [];
  /** When the last text counts as written, and when it leaves. */
  private writtenMs = 0;
  private leftMs = 0;
  /** Events so far. */
  private events = 0;
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
    this.timeline = body.includeTimings ? new MockTimeline(options, this.startedMs) : null;
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

  admitted(plannedMs: number): void {
    this.timeline?.admitted(plannedMs);
  }

  emit(tokens: number, last: boolean, times: StepTimes): void {
    const text = textOf(this.sent, tokens);
    const first = this.sent;
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
    const event = this.events;
    const stall = (cause: MockStall["cause"]): number =>
      this.options.stalls.reduce(
        (ms, one) =>
          one.cause === cause && one.token >= first && one.token < this.sent ? ms + one.ms : ms,
        0,
      );
    this.write((index) => `${this.head}${index},${show},"finish_reason":null}]${extra}}\n\n`, {
      frontendMs: stall("frontend"),
      networkMs: stall("network"),
    });
    this.timeline?.tokens(event, this.body.choices, tokens, times, this.writtenMs);
    if (last) this.end();
  }

  private write(
    chunk: (index: number) => string,
    stalls: { readonly frontendMs: number; readonly networkMs: number } = noStalls,
  ): void {
    let all = "";
    for (let index = 0; index < this.body.choices; index++) all += chunk(index);
    this.events += this.body.choices;
    this.send(all, false, stalls);
  }

  /** Writes in order: at once, or when the stalls of this and of what went before it are over. */
  private send(text: string, last: boolean, { frontendMs, networkMs } = noStalls): void {
    const now = performance.now();
    this.writtenMs = Math.max(this.writtenMs, now + frontendMs);
    this.leftMs = Math.max(this.leftMs, this.writtenMs + networkMs);
    this.outgoing.push({ text, atMs: this.leftMs, last });
    if (this.outgoing.length === 1) this.flush();
  }

  private flush(): void {
    if (this.response.destroyed) return;
    const now = performance.now();
    for (let next = this.outgoing[0]; next !== undefined; next = this.outgoing[0]) {
      if (next.atMs > now) {
        setTimeout(() => this.flush(), next.atMs - now);
        return;
      }
      if (next.last) this.response.end(next.text);
      else this.response.write(next.text);
      this.outgoing.shift();
    }
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
    const bare = `${this.head.slice(0, this.head.lastIndexOf('"choices"'))}"choices":[]`;
    if (this.body.includeUsage && this.options.usage !== "none")
      this.send(`${bare},"usage":${this.usage()}}\n\n`, false);
    if (this.timeline !== null)
      this.send(`${bare},"timeline":${JSON.stringify(this.timeline.end())}}\n\n`, false);
    this.send("data: [DONE]\n\n", true);
  }
}
