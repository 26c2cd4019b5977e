/** The HTTP server: routes over an EngineClient, life and end. */
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono } from "hono";
import { z } from "zod";
import type { EngineClient } from "../contracts.ts";
import { Admission } from "./admission.ts";
import { type AnswerForm, answerStream, answerWhole } from "./answer.ts";
import { ApiError, badRequest, toApiError, unavailable } from "./api-error.ts";
import { readJsonObject } from "./body.ts";
import { Exchange } from "./exchange.ts";
import { generationFields, parseFields, promptField } from "./fields.ts";
import type { Choice } from "./generation.ts";
import { completionLogprobs } from "./logprobs.ts";
import { ServerMetrics } from "./metrics.ts";
import { defaultServerOptions, type ServerOptions } from "./options.ts";
import { TokenPieces } from "./pieces.ts";
import { samplingOf } from "./sampling.ts";

/** A server over one engine. */
export interface Server {
  /** Starts to listen; resolves to the base URL. */
  listen(): Promise<string>;
  /** Refuses new requests, waits for running ones up to `timeoutSeconds`, then closes. */
  drain(timeoutSeconds: number): Promise<void>;
  /** Ends all connections now. The engine client stays the caller's. */
  close(): Promise<void>;
}

type Handler = (exchange: Exchange) => Promise<void>;

const completionShape = z.object({
  ...generationFields,
  prompt: promptField,
  echo: z.boolean().default(false),
  logprobs: z.int().min(0).max(20).optional(),
});

/** Builds a server; nothing listens before `listen`. */
export function createServer(client: EngineClient, given: Partial<ServerOptions> = {}): Server {
  const options: ServerOptions = { ...defaultServerOptions, ...given };
  const admission = new Admission(options.maxInFlight, () => performance.now() / 1e3);
  const metrics = new ServerMetrics(client, options.slo, () => admission.inFlight);
  const pieces = new TokenPieces(client);
  const scope = { client, metrics, admission, options };
  const digest = (key: string) => createHash("sha256").update(key).digest();
  const keys = options.apiKeys.map(digest);
  let draining = false;

  const checkReady = () => {
    if (draining) throw unavailable("The server is going down.", "draining", 5);
    if (!client.ready) throw unavailable("The model is not ready.", "not_ready");
  };
  const checkKey = (exchange: Exchange) => {
    const key = digest((exchange.header("authorization") ?? "").replace(/^Bearer\s+/i, ""));
    // All keys are compared, each in constant time.
    const hits = keys.filter((known) => timingSafeEqual(known, key)).length;
    if (keys.length > 0 && hits === 0)
      throw new ApiError(401, "The API key is missing or wrong.", { code: "invalid_api_key" });
  };

  const completions: Handler = async (exchange) => {
    checkReady();
    const body = await readJsonObject(exchange.incoming, options.maxBodyBytes);
    const { fields, ignored } = parseFields(completionShape, body);
    exchange.warn(ignored);
    const names = [client.card.name, ...options.modelAliases];
    if (fields.model !== undefined && !options.anyModel && !names.includes(fields.model))
      throw new ApiError(
        404,
        `The model ${JSON.stringify(fields.model.slice(0, 100))} is not served; ${client.card.name} is.`,
        { param: "model", code: "model_not_found" },
      );
    if (fields.best_of !== undefined && fields.best_of !== fields.n)
      throw badRequest("`best_of` is not supported; ask for `n` and choose yourself.", "best_of");
    for (const name of ["response_format"] as const)
      if (fields[name] !== undefined && fields[name].type !== "text")
        throw badRequest("JSON answers are not supported yet; give a GBNF `grammar`.", name);
    if (fields.echo && fields.logprobs !== undefined)
      throw badRequest("`echo` together with `logprobs` is not supported.", "logprobs");
    const prompts =
      typeof fields.prompt === "string" || typeof fields.prompt[0] === "number"
        ? [fields.prompt as string | number[]]
        : (fields.prompt as (string | number[])[]);
    if (prompts.length * fields.n > options.maxChoices)
      throw badRequest(
        `${prompts.length} prompts × n ${fields.n} is more than ${options.maxChoices} choices.`,
        "n",
      );
    const maxTokens = fields.max_tokens ?? fields.max_completion_tokens ?? 16;
    if (maxTokens < 1) throw badRequest("`max_tokens` must be at least 1.", "max_tokens");
    const tokens = await Promise.all(
      prompts.map((prompt) =>
        typeof prompt === "string"
          ? client.tokenize(prompt, { addSpecial: true, parseSpecial: true })
          : Int32Array.from(prompt),
      ),
    );
    for (const prompt of tokens) {
      const foreign = prompt.find((token) => token >= client.card.vocabularySize);
      if (foreign !== undefined)
        throw badRequest(
          `Token ${foreign} is not in the vocabulary of ${client.card.vocabularySize}.`,
          "prompt",
        );
      if (prompt.length === 0) throw badRequest("The prompt is empty.", "prompt");
      if (prompt.length + maxTokens > client.card.contextTokens)
        throw badRequest(
          `The prompt has ${prompt.length} tokens and ${maxTokens} more are asked for: ${prompt.length + maxTokens} of at most ${client.card.contextTokens}.`,
          "prompt",
          "context_length_exceeded",
        );
    }
    const sampling = samplingOf(fields, fields.logprobs ?? -1, client.card);
    const stop = typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []);
    const deadlineMs =
      fields.deadline_ms ?? Number(exchange.header("x-deadline-ms") ?? Number.POSITIVE_INFINITY);
    if (!(deadlineMs > 0))
      throw badRequest("x-deadline-ms must be a number above 0.", "x-deadline-ms");
    const choices = tokens.flatMap((prompt, p) =>
      Array.from(
        { length: fields.n },
        (_, i): Choice => ({
          index: p * fields.n + i,
          prompt: p,
          request: {
            id: `${exchange.id}-${p * fields.n + i}`,
            prompt,
            maxTokens,
            sampling: sampling.forChoice(i),
            stop,
            stopTokens: fields.stop_token_ids,
            ignoreEos: fields.ignore_eos,
            minTokens: Math.min(fields.min_tokens, maxTokens),
            grammar: fields.grammar ?? null,
            priority: fields.priority,
            deadlineSeconds: deadlineMs / 1e3,
          },
        }),
      ),
    );
    const echoes = fields.echo
      ? await Promise.all(
          prompts.map((prompt, p) =>
            typeof prompt === "string" ? prompt : client.detokenize(tokens[p] ?? new Int32Array()),
          ),
        )
      : [];
    const seen = new Map<number, number>();
    const form: AnswerForm = {
      head: {
        id: `cmpl-${randomUUID()}`,
        object: "text_completion",
        created: Math.floor(Date.now() / 1e3),
        model: client.card.name,
      },
      chunkObject: "text_completion",
      read: (choice, event) => {
        const first = !seen.has(choice.index);
        seen.set(choice.index, 0);
        return {
          text: (first ? (echoes[choice.prompt] ?? "") : "") + (event?.text ?? ""),
          calls: [],
          event,
        };
      },
      chunk: async (choice, news, finish) => ({
        index: choice.index,
        text: news.text,
        finish_reason: finish,
        logprobs:
          fields.logprobs === undefined || news.event === null
            ? null
            : await completionLogprobs(news.event.logprobs, pieces, 0),
        ...(fields.return_token_ids ? { token_ids: news.event?.tokens ?? [] } : {}),
      }),
      finishReason: (_, reason) => reason,
      whole: async (choice, news, finish) => ({
        index: choice.index,
        text: news.map((one) => one.text).join(""),
        finish_reason: finish,
        logprobs:
          fields.logprobs === undefined
            ? null
            : await completionLogprobs(
                news.flatMap((one) => one.event?.logprobs ?? []),
                pieces,
                0,
              ),
        ...(fields.return_token_ids
          ? { token_ids: news.flatMap((one) => one.event?.tokens ?? []) }
          : {}),
      }),
    };
    if (fields.stream) await answerStream(scope, exchange, choices, form, fields);
    else await answerWhole(scope, exchange, choices, form);
  };

  const routes: Readonly<Record<string, readonly [string, Handler]>> = {
    "/v1/completions": ["POST", completions],
    "/v1/models": [
      "GET",
      async (exchange) =>
        exchange.json(200, {
          object: "list",
          data: [
            {
              id: client.card.name,
              object: "model",
              created: 0,
              owned_by: "millrace",
              max_model_len: client.card.contextTokens,
            },
          ],
        }),
    ],
    "/health": ["GET", async (exchange) => exchange.json(200, { status: "ok" })],
    "/ready": [
      "GET",
      async (exchange) => {
        checkReady();
        exchange.json(200, { status: "ready" });
      },
    ],
    "/metrics": [
      "GET",
      async (exchange) =>
        exchange.text(200, await metrics.text(), "text/plain; version=0.0.4; charset=utf-8"),
    ],
  };
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.all("*", async (context) => {
    const exchange = new Exchange(context.env.incoming, context.env.outgoing);
    const path = new URL(context.req.url).pathname;
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    try {
      if (path !== "/health" && path !== "/ready") checkKey(exchange);
      if (route === undefined)
        throw new ApiError(404, "There is no such path.", { code: "not_found" });
      const [method, handler] = route;
      const asked = exchange.incoming.method === "HEAD" ? "GET" : exchange.incoming.method;
      if (asked !== method)
        throw new ApiError(405, `Use ${method} on ${path}.`, {
          code: "method_not_allowed",
          allow: method,
        });
      await handler(exchange);
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error.status === 500)
        options.logger?.error({ id: exchange.id, err: thrown }, "request failed");
      exchange.fail(error);
    }
    metrics.response(route === undefined ? "other" : path, exchange.outgoing.statusCode);
    return RESPONSE_ALREADY_SENT;
  });
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: () =>
      new Response(JSON.stringify(badRequest("The request is malformed.").body), {
        status: 400,
        headers: { "content-type": "application/json" },
      }),
  });
  const http = createHttpServer(
    { noDelay: true, requestTimeout: options.requestTimeoutSeconds * 1e3 },
    (incoming: IncomingMessage, outgoing: ServerResponse) => {
      void listener(incoming, outgoing);
    },
  );
  const close = async () => {
    metrics.close();
    await new Promise<void>((resolve) => {
      http.close(() => resolve());
      http.closeAllConnections();
    });
  };
  return {
    listen: () =>
      new Promise((resolve, reject) => {
        http.once("error", reject);
        http.listen(options.port, options.host, () => {
          const { address, port, family } = http.address() as AddressInfo;
          resolve(`http://${family === "IPv6" ? `[${address}]` : address}:${port}`);
        });
      }),
    drain: async (timeoutSeconds) => {
      draining = true;
      await client.drain(timeoutSeconds);
      await close();
    },
    close,
  };
}
