/**
 * The HTTP server of a model: POST /v1/predict (one point), POST /v1/predict/batch, GET /health, GET /metrics. JSON in and out;
 * a wrong request is answered with what is wrong with it, and never ends the server.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { MillraceError } from "@millrace/core";
import { z } from "zod";
import { ServeMetrics } from "./metrics.ts";
import { type Predictor, rankedLabels } from "./predictor.ts";

export interface ServeOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Points of a batch at most. */
  readonly maxBatch: number;
}

export const defaultServeOptions: ServeOptions = { host: "127.0.0.1", port: 8089, maxBatch: 4096 };

const maxBodyBytes = 16 << 20;
const k = z.int().min(1).max(1000).default(5);
const features = z
  .strictObject({ ids: z.array(z.int().min(0)), values: z.array(z.number()).optional() })
  .refine((f) => f.values === undefined || f.values.length === f.ids.length, {
    message: "ids and values differ in length",
  });
const one = z.union([z.strictObject({ text: z.string(), k }), z.strictObject({ features, k })]);
const many = z.union([
  z.strictObject({ texts: z.array(z.string()), k }),
  z.strictObject({ points: z.array(features), k }),
]);

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

const json = (status: number, value: object): Answer => ({
  status,
  body: `${JSON.stringify(value)}\n`,
});
const refused = (status: number, message: string): Answer => json(status, { error: { message } });

/** A running server. */
export class ExtremeServer {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** Starts to listen. Rejects with ENVIRONMENT_MISSING where the address cannot be had. */
  static async start(
    predictor: Predictor,
    options: ServeOptions = defaultServeOptions,
  ): Promise<ExtremeServer> {
    const metrics = new ServeMetrics();
    const server = createServer((request, response) => {
      void handle(predictor, metrics, options, request).then(({ status, body, type }) => {
        response.writeHead(status, {
          "content-type": type ?? "application/json",
          "content-length": Buffer.byteLength(body),
        });
        response.end(body);
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) =>
        reject(
          new MillraceError(
            "ENVIRONMENT_MISSING",
            `cannot listen on ${options.host}:${options.port}: ${error.message}`,
            { hint: "take another --port" },
          ),
        ),
      );
      server.listen(options.port, options.host, resolve);
    });
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : options.port;
    const host = options.host.includes(":") ? `[${options.host}]` : options.host;
    return new ExtremeServer(server, `http://${host}:${port}`);
  }

  /** Lets answers in progress finish, and stops. */
  async close(): Promise<void> {
    this.#server.closeIdleConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

const paths = ["/v1/predict", "/v1/predict/batch", "/health", "/metrics"];

async function handle(
  predictor: Predictor,
  metrics: ServeMetrics,
  options: ServeOptions,
  request: IncomingMessage,
): Promise<Answer> {
  const path = (request.url ?? "/").split("?")[0] ?? "/";
  let answer: Answer;
  try {
    answer = await route(predictor, metrics, options, request, path);
  } catch (error) {
    if (!(error instanceof MillraceError)) answer = refused(500, "the server failed");
    else answer = refused(400, error.message);
  }
  metrics.answered(paths.includes(path) ? path : "other", answer.status);
  return answer;
}

async function route(
  predictor: Predictor,
  metrics: ServeMetrics,
  options: ServeOptions,
  request: IncomingMessage,
  path: string,
): Promise<Answer> {
  if (!paths.includes(path))
    return refused(404, `there is no ${path}; there are ${paths.join(", ")}`);
  const reads = path === "/health" || path === "/metrics";
  if (request.method !== (reads ? "GET" : "POST"))
    return refused(405, `${path} takes ${reads ? "GET" : "POST"}`);
  const { model, removed } = predictor.stored;
  if (path === "/health")
    return json(200, {
      status: "ok",
      labels: model.labels - removed.size,
      dim: model.dim,
      index: predictor.index,
      check: predictor.check,
    });
  if (path === "/metrics")
    return {
      status: 200,
      type: "text/plain; version=0.0.4",
      body: metrics.text({
        labels: model.labels - removed.size,
        index_recall: predictor.check.recall,
      }),
    };
  const body = await readBody(request);
  if (body === null) return refused(413, `a body has at most ${maxBodyBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return refused(400, "the body is not JSON");
  }
  return path === "/v1/predict"
    ? single(predictor, metrics, value)
    : batch(predictor, metrics, options, value);
}

function single(predictor: Predictor, metrics: ServeMetrics, value: unknown): Answer {
  const parsed = one.safeParse(value);
  if (!parsed.success) return refused(400, `give text or features: ${first(parsed.error)}`);
  const asked = parsed.data;
  const ranking = timed(metrics, 1, () =>
    "text" in asked
      ? predictor.rankTexts([asked.text], limited(predictor, asked.k))
      : predictor.rankRows(
          predictor.rowsOf([withValues(asked.features)]),
          limited(predictor, asked.k),
        ),
  );
  return json(200, { labels: rankedLabels(ranking, 0, predictor.stored.labelTexts) });
}

function batch(
  predictor: Predictor,
  metrics: ServeMetrics,
  options: ServeOptions,
  value: unknown,
): Answer {
  const parsed = many.safeParse(value);
  if (!parsed.success) return refused(400, `give texts or points: ${first(parsed.error)}`);
  const asked = parsed.data;
  const count = "texts" in asked ? asked.texts.length : asked.points.length;
  if (count > options.maxBatch)
    return refused(413, `a batch has at most ${options.maxBatch} points, this one ${count}`);
  const ranking = timed(metrics, count, () =>
    "texts" in asked
      ? predictor.rankTexts(asked.texts, limited(predictor, asked.k))
      : predictor.rankRows(
          predictor.rowsOf(asked.points.map(withValues)),
          limited(predictor, asked.k),
        ),
  );
  return json(200, {
    points: Array.from({ length: count }, (_, i) => ({
      labels: rankedLabels(ranking, i, predictor.stored.labelTexts),
    })),
  });
}

function withValues(f: z.infer<typeof features>): { ids: number[]; values: number[] } {
  return { ids: f.ids, values: f.values ?? f.ids.map(() => 1) };
}

function limited(predictor: Predictor, asked: number): number {
  return Math.min(asked, predictor.stored.model.labels);
}

function timed<T>(metrics: ServeMetrics, points: number, work: () => T): T {
  const start = performance.now();
  const result = work();
  metrics.ranked(points, (performance.now() - start) / 1e3);
  return result;
}

function first(error: z.ZodError): string {
  const issue = error.issues[0];
  return issue === undefined ? "" : `${issue.path.join(".")} ${issue.message}`.trim();
}

async function readBody(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes <= maxBodyBytes) parts.push(part);
  }
  return bytes > maxBodyBytes ? null : Buffer.concat(parts).toString("utf8");
}
