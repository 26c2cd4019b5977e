/** One HTTP request and its response: id, life, and the ways to answer. Every answer of the server leaves through here. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ApiError } from "./api-error.ts";

const goodId = /^[\w.:/+=@-]{1,128}$/;

/** Printable ASCII of at most `limit` characters, fit for a header. */
function headerText(text: string, limit: number): string {
  const plain = text.replace(/[^\x20-\x7e]/g, "?");
  return plain.length <= limit ? plain : `${plain.slice(0, limit)}…`.replace("…", "...");
}

/** One request under way. */
export class Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** The client's own x-request-id where it is fit for a header and a log, otherwise a fresh one. */
  readonly id: string;
  /** performance.now() at the start of the exchange, milliseconds. */
  readonly arrivedMs = performance.now();
  /** Fires when the client has gone before the answer was complete. */
  readonly signal: AbortSignal;
  /** Filled by handlers for the log line. */
  readonly notes: Record<string, unknown> = {};
  readonly #warnings: string[] = [];
  readonly #slowReaderMs: number;

  /** `slowReaderSeconds`: how long the client may take nothing of a whole answer. */
  constructor(incoming: IncomingMessage, outgoing: ServerResponse, slowReaderSeconds: number) {
    this.#slowReaderMs = slowReaderSeconds * 1e3;
    this.incoming = incoming;
    this.outgoing = outgoing;
    const given = incoming.headers["x-request-id"];
    this.id = typeof given === "string" && goodId.test(given) ? given : `req-${randomUUID()}`;
    outgoing.setHeader("x-request-id", this.id);
    const gone = new AbortController();
    this.signal = gone.signal;
    outgoing.on("close", () => {
      if (!outgoing.writableFinished) gone.abort(new Error("the client closed the connection"));
    });
    // A write to a connection that just closed raises "error"; "close" says the same to those who listen.
    outgoing.on("error", () => {});
  }

  /** Status of the answer; 499 where the client left before one was sent. */
  get status(): number {
    return this.outgoing.headersSent ? this.outgoing.statusCode : 499;
  }

  /** A request header as one string, or null. */
  header(name: string): string | null {
    const value = this.incoming.headers[name];
    return typeof value === "string" ? value : null;
  }

  /** Names parameters that were ignored, in x-millrace-warning. */
  warnIgnored(ignored: readonly string[]): void {
    if (ignored.length === 0) return;
    const names = ignored.map((name) => headerText(name, 60)).join(", ");
    this.warn(`unknown parameters ignored: ${names}`);
  }

  /** Adds a word to x-millrace-warning. */
  warn(text: string): void {
    if (this.outgoing.headersSent) return;
    this.#warnings.push(headerText(text, 500));
    this.outgoing.setHeader("x-millrace-warning", this.#warnings.join("; "));
  }

  /** Answers with JSON. A no-op when the client has gone. */
  json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
    this.text(status, JSON.stringify(body), "application/json", headers);
  }

  /** Answers with text of the given content type. */
  text(
    status: number,
    text: string,
    contentType: string,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    if (this.outgoing.headersSent || this.outgoing.destroyed) return;
    const bytes = Buffer.from(text);
    this.outgoing.writeHead(status, {
      "content-type": contentType,
      "content-length": bytes.length,
      ...headers,
    });
    // Who does not take the answer must not keep it in memory for ever; streams watch their readers themselves.
    this.outgoing.setTimeout(this.#slowReaderMs, () => this.outgoing.destroy());
    if (this.incoming.method === "HEAD") this.outgoing.end();
    else this.outgoing.end(bytes);
  }

  /** Answers with an error in OpenAI's shape. */
  fail(error: ApiError): void {
    this.json(error.status, error.body, error.headers);
  }
}
