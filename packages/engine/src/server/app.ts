/** The routes of the server as one Hono app: access, methods, errors, log line and response metric of every request. */
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import { AccessControl } from "./access.ts";
import { scheduler, switchScheduler } from "./admin.ts";
import { ApiError, badRequest, toApiError } from "./api-error.ts";
import { chat } from "./chat.ts";
import { completions } from "./completions.ts";
import type { Handler, Route, ServerContext } from "./context.ts";
import { embeddings } from "./embeddings.ts";
import { Exchange } from "./exchange.ts";
import { health, metrics, model, models, ready, versions } from "./observability.ts";
import { detokenize, tokenize } from "./tokens.ts";

/** Every path that the server knows. */
export const routes: readonly Route[] = [
  { path: "/v1/chat/completions", access: "key", methods: { POST: chat } },
  { path: "/v1/completions", access: "key", methods: { POST: completions } },
  { path: "/v1/embeddings", access: "key", methods: { POST: embeddings } },
  { path: "/v1/models", access: "key", methods: { GET: models } },
  { path: "/v1/models/:model{.+}", access: "key", methods: { GET: model } },
  { path: "/tokenize", access: "key", methods: { POST: tokenize } },
  { path: "/detokenize", access: "key", methods: { POST: detokenize } },
  { path: "/version", access: "key", methods: { GET: versions } },
  { path: "/metrics", access: "key", methods: { GET: metrics } },
  { path: "/health", access: "anyone", methods: { GET: health } },
  { path: "/ready", access: "anyone", methods: { GET: ready } },
  {
    path: "/admin/scheduler",
    access: "admin",
    methods: { GET: scheduler, POST: switchScheduler },
  },
];

type HonoContext = Context<{ Bindings: HttpBindings }>;

/** Label of requests to paths that there are not. */
const otherPath = "other";

/** The listener of an HTTP server. `began` and `ended` frame every request, whatever becomes of it. */
export function requestListener(
  context: ServerContext,
  began: () => void,
  ended: () => void,
): ReturnType<typeof getRequestListener> {
  const access = new AccessControl(context.options);
  const answer = async (hono: HonoContext, route: Route | null): Promise<Response> => {
    const { incoming, outgoing } = hono.env;
    const exchange = new Exchange(incoming, outgoing, context.options.slowReaderSeconds);
    began();
    outgoing.once("close", ended);
    if (context.draining) outgoing.setHeader("connection", "close");
    try {
      access.allowOrigin(exchange);
      const method = incoming.method === "HEAD" ? "GET" : incoming.method;
      const methods: Readonly<Record<string, Handler>> = route?.methods ?? {};
      // A preflight carries no key.
      if (route !== null && method === "OPTIONS") access.options(exchange, Object.keys(methods));
      else {
        access.check(exchange, route?.access ?? "key");
        if (route === null)
          throw new ApiError(404, "There is no such path.", { code: "not_found" });
        const handler =
          method !== undefined && Object.hasOwn(methods, method) ? methods[method] : undefined;
        if (handler === undefined) {
          const allow = Object.keys(methods).join(", ");
          throw new ApiError(405, `Use ${allow} on this path.`, {
            code: "method_not_allowed",
            allow,
          });
        }
        await handler(exchange, context);
      }
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error.status === 500)
        context.options.logger?.error({ id: exchange.id, err: thrown }, "request failed");
      exchange.fail(error);
    }
    const path = route?.path ?? otherPath;
    context.metrics.response(path, exchange.status);
    context.options.logger?.info(
      {
        id: exchange.id,
        method: incoming.method,
        path,
        status: exchange.status,
        ms: Math.round(performance.now() - exchange.arrivedMs),
        ...exchange.notes,
      },
      "request",
    );
    return RESPONSE_ALREADY_SENT;
  };
  const app = new Hono<{ Bindings: HttpBindings }>();
  for (const route of routes) app.all(route.path, (hono) => answer(hono, route));
  app.all("*", (hono) => answer(hono, null));
  return getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: () =>
      new Response(JSON.stringify(badRequest("The request is malformed.").body), {
        status: 400,
        headers: { "content-type": "application/json" },
      }),
  });
}
