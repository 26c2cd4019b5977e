/** What tells about the server: models, health, readiness, version, metrics. */
import { readFileSync } from "node:fs";
import { ApiError } from "./api-error.ts";
import { checkReady, type Handler, type ServerContext } from "./context.ts";

const packageFile = new URL("../../package.json", import.meta.url);
/** Version of this package. */
export const version = (JSON.parse(readFileSync(packageFile, "utf8")) as { version: string })
  .version;

const startedSeconds = Math.floor(Date.now() / 1e3);

function modelEntry({ client }: ServerContext, id: string): object {
  return {
    id,
    object: "model",
    created: startedSeconds,
    owned_by: "millrace",
    max_model_len: client.card.contextTokens,
    root: client.card.name,
  };
}

const names = (context: ServerContext) => [
  context.client.card.name,
  ...context.options.modelAliases,
];

/** GET /v1/models: the model that is loaded, under each of its names. */
export const models: Handler = async (exchange, context) => {
  const data = names(context).map((name) => modelEntry(context, name));
  exchange.json(200, { object: "list", data });
};

/** GET /v1/models/{model}. */
export const model: Handler = async (exchange, context) => {
  const path = new URL(exchange.incoming.url ?? "/", "http://server").pathname;
  const asked = path.slice("/v1/models/".length);
  const found = names(context).find((name) => [name, encodeURIComponent(name)].includes(asked));
  if (found === undefined)
    throw new ApiError(404, `There is no such model; ${context.client.card.name} is served.`, {
      param: "model",
      code: "model_not_found",
    });
  exchange.json(200, modelEntry(context, found));
};

/** GET /health: 200 while the process lives. */
export const health: Handler = async (exchange) => exchange.json(200, { status: "ok" });

/** GET /ready: 200 while requests are taken, otherwise 503. */
export const ready: Handler = async (exchange, context) => {
  checkReady(context);
  exchange.json(200, { status: "ready" });
};

/** GET /version. */
export const versions: Handler = async (exchange) =>
  exchange.json(200, { version, name: "millrace" });

/** GET /metrics: Prometheus text. */
export const metrics: Handler = async (exchange, context) =>
  exchange.text(200, await context.metrics.text(), context.metrics.contentType);
