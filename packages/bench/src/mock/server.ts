/**
 * A mock endpoint with OpenAI's API: prompts cost time, decodes come in steps, failures come on demand, all from a seed.
 * For trying the tools without a model, and the source of load for their tests and benches.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Rng } from "@millrace/core";
import { MockEngine } from "./batch.ts";
import { type MockOptions, type ResolvedMock, resolveMock } from "./options.ts";
import { type MockBody, MockStream } from "./stream.ts";

/** A running mock. Disposing it ends all streams. */
export interface MockServer extends AsyncDisposable {
  readonly url: string;
  /** Figures since the start. */
  counts(): { readonly requests: number; readonly tokens: number; readonly steps: number };
}

/** Bytes of a body that are read at most. */
const MOST_BYTES = 64 << 20;

/** Starts a mock endpoint on loopback. Rejects when the port is taken. */
export async function startMock(options: MockOptions = {}): Promise<MockServer> {
  const mock = new Mock(resolveMock(options));
  const server = createServer({ noDelay: true, keepAliveTimeout: 60_000 }, (request, response) => {
    mock.serve(request, response).catch(() => response.destroy());
  });
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    counts: () => ({ requests: mock.requests, ...mock.engine.counts }),
    async [Symbol.asyncDispose]() {
      mock.engine.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

class Mock {
  readonly engine: MockEngine;
  requests = 0;
  private readonly options: ResolvedMock;
  private readonly rng: Rng;
  private windowStartMs = 0;
  private windowCount = 0;

  constructor(options: ResolvedMock) {
    this.options = options;
    this.engine = new MockEngine(options);
    this.rng = new Rng(options.seed).fork("failures");
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").replace(/\?.*/, "");
    if (request.method === "GET" && path === "/v1/models")
      return json(response, 200, {
        object: "list",
        data: [{ id: this.options.model, object: "model" }],
      });
    if (request.method === "GET" && path === "/health")
      return json(response, 200, { status: "ok" });
    if (request.method === "GET" && path === "/metrics") {
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(this.metrics());
      return;
    }
    const chat = path === "/v1/chat/completions";
    if (request.method !== "POST" || !(chat || path === "/v1/completions"))
      return failure(response, 404, `there is no ${request.method} ${path}`);
    const text = await bodyText(request);
    if (text === null) return failure(response, 413, `the body is larger than ${MOST_BYTES} bytes`);
    const body = this.read(text, chat);
    if (typeof body === "string") return failure(response, 400, body);
    await this.answer(body, response);
  }

  private async answer(body: MockBody, response: ServerResponse): Promise<void> {
    const { errorRate, resetRate, errorEventRate, headerDelayMs } = this.options;
    const number = this.requests++;
    // Drawn for every request, so that one failure does not move the others.
    const [fails, resets, tells] = [this.rng.next(), this.rng.next(), this.rng.next()];
    const where = this.rng.int(0, Math.max(0, body.outputTokens - 1));
    const waitSeconds = this.overRate();
    if (waitSeconds > 0)
      return failure(response, 429, "more requests than the rate limit allows", {
        "retry-after": waitSeconds.toFixed(3),
      });
    if (fails < errorRate) return failure(response, 500, "the mock failed on purpose");
    if (headerDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, headerDelayMs));
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
    response.flushHeaders();
    const stream = new MockStream(`mock-${number}`, body, this.options, response, {
      reset: resets < resetRate ? where : -1,
      error: tells < errorEventRate ? where : -1,
    });
    this.engine.enqueue(stream);
  }

  /** Seconds to wait when this request is one too many in its second, else 0. */
  private overRate(): number {
    const { rateLimitQps } = this.options;
    const now = performance.now();
    if (now - this.windowStartMs >= 1000) {
      this.windowStartMs = now;
      this.windowCount = 0;
    }
    this.windowCount += 1;
    return this.windowCount > rateLimitQps ? (this.windowStartMs + 1000 - now) / 1000 : 0;
  }

  /** The body, or why it is none. A prompt of n words has n tokens. */
  private read(text: string, chat: boolean): MockBody | string {
    let body: Record<string, unknown>;
    try {
      body = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return "the body is not JSON";
    }
    if (body === null || typeof body !== "object") return "the body is not an object";
    if (body.model !== this.options.model)
      return `the model ${JSON.stringify(body.model)} does not exist; it is ${this.options.model}`;
    if (body.stream !== true) return "the mock only streams: set stream to true";
    const prompt = chat
      ? ((body.messages as { readonly content?: unknown }[] | undefined) ?? [])
          .map(({ content }) => String(content))
          .join(" ")
      : body.prompt;
    if (typeof prompt !== "string" || prompt === "") return "there is no prompt";
    const most = Number(body.max_tokens ?? body.max_completion_tokens ?? 16);
    if (!(Number.isSafeInteger(most) && most > 0)) return "max_tokens is not a number above 0";
    const natural = 1 + Math.floor(this.rng.next() * most);
    const options = body.stream_options as
      | { readonly include_usage?: unknown; readonly include_timings?: unknown }
      | undefined;
    return {
      chat,
      promptTokens: prompt.split(/\s+/).filter((word) => word !== "").length || 1,
      outputTokens: body.ignore_eos === true ? most : natural,
      choices: Math.min(16, Math.max(1, Number(body.n ?? 1) || 1)),
      includeUsage: options?.include_usage === true,
      includeTimings: options?.include_timings === true,
    };
  }

  private metrics(): string {
    const { steps, tokens } = this.engine.counts;
    const lines = [
      ["requests_total", "counter", this.requests],
      ["requests_running", "gauge", this.engine.runningCount],
      ["requests_waiting", "gauge", this.engine.waitingCount],
      ["generated_tokens_total", "counter", tokens],
      ["steps_total", "counter", steps],
    ] as const;
    return lines
      .map(
        ([name, type, value]) =>
          `# TYPE millrace_mock_${name} ${type}\nmillrace_mock_${name} ${value}\n`,
      )
      .join("");
  }
}

async function bodyText(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += (part as Buffer).length;
    if (size > MOST_BYTES) return null;
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString();
}

function json(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function failure(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response
    .writeHead(status, { "content-type": "application/json", ...headers })
    .end(JSON.stringify({ error: { message, type: "mock_error", param: null, code: null } }));
}
