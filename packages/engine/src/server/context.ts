/** What the routes of one server share, and what every route is. */
import { ChatTemplate } from "../chat/index.ts";
import type { EngineClient } from "../contracts.ts";
import type { Admission } from "./admission.ts";
import { ApiError, badRequest, unavailable } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { ServerOptions } from "./options.ts";
import type { TokenPieces } from "./pieces.ts";

/** The parts that routes work with. */
export interface ServerContext {
  readonly client: EngineClient;
  readonly options: ServerOptions;
  readonly metrics: ServerMetrics;
  readonly admission: Admission;
  readonly pieces: TokenPieces;
  /** The chat template, or why there is none. Throws ENGINE_FAILED while the model is not loaded. */
  readonly chat: () => ChatTemplate | { readonly problem: string };
  /** True once the server goes down; it then answers only what it has begun. */
  draining: boolean;
}

/** Answers one request; what it throws becomes an error answer. */
export type Handler = (exchange: Exchange, context: ServerContext) => Promise<void>;

/** Who may call a route: anyone, holders of an API key, or the administrator. */
export type Access = "anyone" | "key" | "admin";

/** One path with its methods. HEAD is answered as GET without a body. */
export interface Route {
  /** As Hono writes paths; also the label in metrics. */
  readonly path: string;
  readonly access: Access;
  readonly methods: { readonly GET?: Handler; readonly POST?: Handler };
}

/**
 * Finds the template of a server: the option's, or the model's own once it is known. Throws CONFIG_INVALID for a broken
 * option; a model's own broken template is a problem of chats alone.
 */
export function chatTemplates(client: EngineClient, option: string | null): ServerContext["chat"] {
  const given = option === null ? null : new ChatTemplate(option);
  let own: ReturnType<ServerContext["chat"]> | null = null;
  return () => {
    own ??= given ?? ownTemplate(client);
    return own;
  };
}

function ownTemplate(client: EngineClient): ReturnType<ServerContext["chat"]> {
  const { chatTemplate, name } = client.card;
  const remedy = "(--chat-template FILE, or a name such as chatml)";
  if (chatTemplate === null)
    return {
      problem: `The model ${name} has no chat template. Give one when the server is started ${remedy}, or use /v1/completions.`,
    };
  try {
    return new ChatTemplate(chatTemplate);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return {
      problem: `${why} It is the model's own; give another when the server is started ${remedy}.`,
    };
  }
}

/** The chat template; 400 with the way to get one where there is none. */
export function needTemplate(context: ServerContext): ChatTemplate {
  const chat = context.chat();
  if (chat instanceof ChatTemplate) return chat;
  throw badRequest(chat.problem, "messages", "no_chat_template");
}

/** 503 unless requests are taken. */
export function checkReady(context: ServerContext): void {
  if (context.draining)
    throw unavailable("The server is draining: it takes no new requests.", "draining", 5);
  if (!context.client.ready)
    throw unavailable(
      "The engine is not ready: it loads, restarts or changes its scheduler.",
      "not_ready",
    );
}

/** 404 unless `model` names what is loaded. */
export function checkModel(context: ServerContext, model: string | undefined): void {
  const { client, options } = context;
  if (model === undefined || options.anyModel) return;
  if (model === client.card.name || options.modelAliases.includes(model)) return;
  throw new ApiError(
    404,
    `The model ${JSON.stringify(model.slice(0, 100))} is not served; ${client.card.name} is.`,
    { param: "model", code: "model_not_found" },
  );
}
