/** Who may call: API keys, admin keys, and pages of other origins. Keys are compared in constant time. */
import { createHash, timingSafeEqual } from "node:crypto";
import { ApiError } from "./api-error.ts";
import type { Access } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import type { ServerOptions } from "./options.ts";

const digest = (key: string) => createHash("sha256").update(key).digest();
const loopback = /^(?:::1|::ffff:127\.\d+\.\d+\.\d+|127\.\d+\.\d+\.\d+)$/;
const localHost = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i;
const exposed =
  "x-request-id, x-millrace-warning, x-should-retry, retry-after, content-length, content-type";

/** Checks requests against the keys of a server. */
export class AccessControl {
  readonly #keys: readonly Buffer[];
  readonly #adminKeys: readonly Buffer[];
  readonly #origins: readonly string[];

  constructor(options: Pick<ServerOptions, "apiKeys" | "adminKeys" | "corsOrigins">) {
    this.#keys = options.apiKeys.map(digest);
    this.#adminKeys = options.adminKeys.map(digest);
    this.#origins = options.corsOrigins;
  }

  /** Throws 401 or 403 where the client may not call. */
  check(exchange: Exchange, access: Access): void {
    if (access === "anyone") return;
    if (access === "key") {
      if (this.#keys.length === 0 || holds(this.#keys, exchange)) return;
      if (this.#adminKeys.length > 0 && holds(this.#adminKeys, exchange)) return;
      throw new ApiError(401, "The API key is missing or wrong.", { code: "invalid_api_key" });
    }
    if (this.#adminKeys.length > 0) {
      if (holds(this.#adminKeys, exchange)) return;
      throw new ApiError(401, "The admin key is missing or wrong.", { code: "invalid_api_key" });
    }
    if (!isLocal(exchange))
      throw new ApiError(
        403,
        "Without an admin key, admin routes answer only clients on this machine, called by a name of this machine.",
        { code: "admin_only" },
      );
    this.check(exchange, "key");
  }

  /** Sets the headers that let pages of allowed origins read the answer. */
  allowOrigin(exchange: Exchange): void {
    if (this.#origins.length === 0) return;
    const { outgoing } = exchange;
    const any = this.#origins.includes("*");
    if (!any) outgoing.setHeader("vary", "origin");
    const origin = exchange.header("origin");
    if (origin === null || !(any || this.#origins.includes(origin))) return;
    outgoing.setHeader("access-control-allow-origin", any ? "*" : origin);
    outgoing.setHeader("access-control-expose-headers", exposed);
  }

  /** Answers OPTIONS for a path with these methods: a preflight where the origin is allowed, and the methods. */
  options(exchange: Exchange, methods: readonly string[]): void {
    const allow = [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(", ");
    const { outgoing } = exchange;
    if (outgoing.hasHeader("access-control-allow-origin")) {
      outgoing.setHeader("access-control-allow-methods", allow);
      const asked = exchange.header("access-control-request-headers");
      outgoing.setHeader(
        "access-control-allow-headers",
        asked !== null && /^[\w\-, ]{1,1000}$/.test(asked) ? asked : "authorization, content-type",
      );
      outgoing.setHeader("access-control-max-age", "600");
    }
    outgoing.setHeader("allow", allow);
    outgoing.writeHead(204).end();
  }
}

/** All keys are compared, each in constant time. */
function holds(keys: readonly Buffer[], exchange: Exchange): boolean {
  const bearer = exchange.header("authorization")?.replace(/^Bearer\s+/i, "");
  const key = digest(bearer ?? exchange.header("x-api-key") ?? "");
  return keys.filter((known) => timingSafeEqual(known, key)).length > 0;
}

/** Connected from this machine, under its own name (a page of another name may resolve here), and not through a proxy. */
function isLocal(exchange: Exchange): boolean {
  const peer = exchange.incoming.socket.remoteAddress ?? "";
  const proxied = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].some(
    (name) => exchange.incoming.headers[name] !== undefined,
  );
  return loopback.test(peer) && localHost.test(exchange.header("host") ?? "") && !proxied;
}
