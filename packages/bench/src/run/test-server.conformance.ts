/** A small server for tests of runs: streams what a script says. The real mock endpoint is in mock/. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Answers one request; `n` counts from 0. */
export type Answer = (
  response: ServerResponse,
  body: Record<string, unknown>,
  n: number,
  request: IncomingMessage,
) => void | Promise<void>;

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** Bodies in order of arrival. */
  readonly bodies: readonly Record<string, unknown>[];
}

export async function testServer(answer: Answer): Promise<TestServer> {
  const bodies: Record<string, unknown>[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>;
    const n = bodies.push(body) - 1;
    await answer(response, body, n, request);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Streams `max_tokens` chat chunks of one word, then usage and [DONE]. */
export const wordByWord: Answer = async (response, body) => {
  const asked = Number(body.max_tokens);
  response.writeHead(200, { "content-type": "text/event-stream" });
  const event = (value: unknown): void => {
    response.write(`data: ${JSON.stringify(value)}\n\n`);
  };
  for (let i = 0; i < asked; i++) {
    event({ choices: [{ index: 0, delta: { content: `w${i} ` }, finish_reason: null }] });
    await new Promise((resolve) => setImmediate(resolve));
  }
  event({ choices: [{ index: 0, delta: {}, finish_reason: "length" }] });
  event({ choices: [], usage: { prompt_tokens: 5, completion_tokens: asked } });
  response.end("data: [DONE]\n\n");
};
