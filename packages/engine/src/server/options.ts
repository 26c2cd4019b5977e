/** What the server can be told; every number has a default that suits one machine behind a proxy or none. */
import type { Logger } from "pino";

/** How an open stream without news is kept alive: an SSE comment, an empty chunk, or not at all. */
export type KeepAlive = "comment" | "chunk" | "off";

/** Options of createServer. */
export interface ServerOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Accepted bearer keys; none = no key is asked for. */
  readonly apiKeys: readonly string[];
  /** Accepted bearer keys of the admin routes; none = only clients on this machine, without a proxy between. */
  readonly adminKeys: readonly string[];
  /** Origins whose pages may call the server from a browser; "*" = all, none = no CORS headers. */
  readonly corsOrigins: readonly string[];
  /** Jinja source or name of a chat template in place of the model's own. */
  readonly chatTemplate: string | null;
  /** Whether clients may send grammars of their own (GBNF). They can be written to slow every step down. */
  readonly ownGrammars: boolean;
  /** Further names under which the model answers. */
  readonly modelAliases: readonly string[];
  /** True: any `model` in a request is taken to mean the one that is loaded. */
  readonly anyModel: boolean;
  /** Largest request body, bytes. */
  readonly maxBodyBytes: number;
  /** Seconds a client may take to send its request. */
  readonly requestTimeoutSeconds: number;
  /** Seconds that an idle connection is kept for a next request. */
  readonly idleConnectionSeconds: number;
  /** Most choices (prompts × n) of one request. */
  readonly maxChoices: number;
  /** Most choices in the engine at once, running and waiting; more are answered 429. */
  readonly maxInFlight: number;
  /** How silent streams are kept open. */
  readonly keepAlive: KeepAlive;
  /** Seconds of silence after which a keep-alive is sent; at most 15. */
  readonly keepAliveSeconds: number;
  /** Bytes that may wait for a slow reader before its request is cancelled. */
  readonly maxPendingBytes: number;
  /** Seconds a reader may take nothing while bytes wait for it. */
  readonly slowReaderSeconds: number;
  /** Targets of the fluidity-index histogram, milliseconds. */
  readonly slo: { readonly ttftMs: number; readonly tbtMs: number };
  /** One line per request; null = silent. */
  readonly logger: Logger | null;
}

/** The defaults of every option. */
export const defaultServerOptions: ServerOptions = {
  host: "127.0.0.1",
  port: 8080,
  apiKeys: [],
  adminKeys: [],
  corsOrigins: [],
  chatTemplate: null,
  ownGrammars: true,
  modelAliases: [],
  anyModel: false,
  maxBodyBytes: 16 * 1024 * 1024,
  requestTimeoutSeconds: 60,
  idleConnectionSeconds: 75,
  maxChoices: 128,
  maxInFlight: 512,
  keepAlive: "off",
  keepAliveSeconds: 15,
  maxPendingBytes: 1024 * 1024,
  slowReaderSeconds: 60,
  slo: { ttftMs: 2000, tbtMs: 100 },
  logger: null,
};
