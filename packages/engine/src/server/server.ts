/** The HTTP server: its life from listening to the last byte. What it answers is in app.ts. */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { EngineClient } from "../contracts.ts";
import { Admission } from "./admission.ts";
import { ApiError } from "./api-error.ts";
import { requestListener } from "./app.ts";
import { chatTemplates, type ServerContext } from "./context.ts";
import { ServerMetrics } from "./metrics.ts";
import { defaultServerOptions, type ServerOptions } from "./options.ts";
import { TokenPieces } from "./pieces.ts";

/** Seconds that answers of a drained engine have to reach their readers. */
const flushSeconds = 5;

/** A server over one engine. */
export interface Server {
  /** Starts to listen; resolves to the base URL. */
  listen(): Promise<string>;
  /**
   * Refuses new requests with 503, waits for those under way up to `timeoutSeconds`, ends the rest with an error, and
   * closes. /health stays 200 until then. Never rejects for what the engine does meanwhile.
   */
  drain(timeoutSeconds: number): Promise<void>;
  /** Ends all connections now. The engine client stays the caller's. */
  close(): Promise<void>;
}

/** What cannot be parsed as HTTP gets an answer in the API's own shape where one can still be sent. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, words] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? ([431, "Request Header Fields Too Large"] as const)
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? ([408, "Request Timeout"] as const)
        : ([400, "Bad Request"] as const);
  const body = JSON.stringify(
    new ApiError(status, `${words}.`, { code: "malformed_request" }).body,
  );
  socket.end(
    `HTTP/1.1 ${status} ${words}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Resolves when `done` does, or after `seconds`. */
async function within(seconds: number, done: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, seconds * 1e3);
  });
  await Promise.race([done.then(() => {}), late]);
  clearTimeout(timer);
}

/** Builds a server; nothing listens before `listen`. Throws CONFIG_INVALID for a chat template that cannot be parsed. */
export function createServer(client: EngineClient, given: Partial<ServerOptions> = {}): Server {
  const options: ServerOptions = { ...defaultServerOptions, ...given };
  const admission = new Admission(options.maxInFlight, () => performance.now() / 1e3);
  const context: ServerContext = {
    client,
    options,
    admission,
    metrics: new ServerMetrics(client, options.slo, () => admission.inFlight),
    pieces: new TokenPieces(client),
    chat: chatTemplates(client, options.chatTemplate),
    draining: false,
  };
  let open = 0;
  let becameIdle = (): void => {};
  const listener = requestListener(
    context,
    () => open++,
    () => {
      open--;
      if (open === 0) becameIdle();
    },
  );
  const http = createHttpServer(
    {
      noDelay: true,
      requestTimeout: options.requestTimeoutSeconds * 1e3,
      keepAliveTimeout: options.idleConnectionSeconds * 1e3,
    },
    (incoming: IncomingMessage, outgoing: ServerResponse) => {
      void listener(incoming, outgoing);
    },
  );
  http.on("clientError", refuseMalformed);
  const close = async () => {
    context.metrics.close();
    await new Promise<void>((resolve) => {
      http.close(() => resolve());
      http.closeAllConnections();
    });
  };
  const idle = () =>
    new Promise<void>((resolve) => {
      becameIdle = resolve;
      if (open === 0) resolve();
    });
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
      context.draining = true;
      const engine = client.drain(timeoutSeconds).catch((error: unknown) => {
        options.logger?.error({ err: error }, "the engine failed while it drained");
      });
      // An engine that hangs must not keep the server from going down.
      await within(timeoutSeconds + flushSeconds, engine);
      await within(flushSeconds, idle());
      await close();
    },
    close,
  };
}
