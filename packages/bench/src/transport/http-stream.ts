/**
 * One streamed request over node:http, time-stamped before anything is parsed. Never retries, never follows, and reads
 * at most what it needs of a reply that is no stream.
 */
import http, { type ClientRequest, type IncomingMessage } from "node:http";
import https from "node:https";
import type { ErrorClass, RequestFailure, TimeoutsSeconds } from "../contracts.ts";
import { classOfSocketError, classOfStatus } from "./error-class.ts";
import { StreamReader } from "./stream-reader.ts";
import type { Target } from "./target.ts";
import { messageOf } from "./wire-chunk.ts";

/** Bytes of a reply that is no stream which are kept to explain it. */
const BODY_BYTES = 64 * 1024;
const MESSAGE_CHARS = 500;
/** A server that said [DONE] has this long to end the response before its connection is given up, ms. */
const GRACE_MS = 250;

/** What a request came to. Times are µs from run start, -1 = did not happen. */
export interface StreamOutcome {
  readonly reader: StreamReader;
  readonly startedUs: number;
  readonly connectedUs: number;
  readonly reused: boolean;
  readonly headersUs: number;
  readonly endedUs: number;
  readonly httpStatus: number;
  readonly reads: number;
  /** Reads that brought more than one chunk with text. */
  readonly mergedReads: number;
  readonly bytesIn: number;
  readonly failure: RequestFailure | null;
}

export interface StreamSettings {
  readonly timeouts: TimeoutsSeconds;
  readonly keepText: boolean;
  readonly serverTimes: boolean;
  /** µs from run start. */
  readonly clock: () => number;
}

export class HttpStream {
  private readonly reader: StreamReader;
  private readonly settings: StreamSettings;
  private readonly request: ClientRequest;
  private readonly resolve: (outcome: StreamOutcome) => void;
  private readonly timers = new Set<NodeJS.Timeout>();
  private idle: NodeJS.Timeout | null = null;
  private readonly startedUs: number;
  private connectedUs = -1;
  private reused = false;
  private headersUs = -1;
  private httpStatus = 0;
  private reads = 0;
  private mergedReads = 0;
  private bytesIn = 0;
  private lastReadMs = 0;
  private over = false;

  /** Sends the request; `ended` is called once, later. */
  constructor(
    target: Target,
    body: Uint8Array,
    settings: StreamSettings,
    ended: (outcome: StreamOutcome) => void,
  ) {
    this.settings = settings;
    this.resolve = ended;
    this.reader = new StreamReader(settings.keepText, settings.serverTimes);
    this.startedUs = settings.clock();
    const { options } = target;
    const headers = { ...options.headers, "content-length": body.length };
    this.request = (target.secure ? https : http).request({ ...options, headers });
    this.watch(target.secure);
    this.request.end(body);
  }

  /** Ends it early; it fails as cancelled. */
  cancel(): void {
    this.fail("cancelled", "the run ended before the answer did");
  }

  private watch(secure: boolean): void {
    const { request, settings } = this;
    const { connect, firstToken, total } = settings.timeouts;
    request.on("socket", (socket) => {
      this.reused = request.reusedSocket;
      if (!socket.connecting) {
        this.connectedUs = this.reused ? this.startedUs : settings.clock();
        return;
      }
      const connected = (): void => {
        this.connectedUs = settings.clock();
      };
      socket.once(secure ? "secureConnect" : "connect", connected);
      this.after(connect, () => {
        if (this.connectedUs < 0) this.fail("connect-timeout", `no connection within ${connect} s`);
      });
    });
    this.after(firstToken, () => {
      if (this.reader.firstTokenUs < 0)
        this.fail("first-token-timeout", `no text within ${firstToken} s`);
    });
    this.after(total, () => this.fail("total-timeout", `not over within ${total} s`));
    request.on("response", (response) => this.respond(response));
    request.on("error", (error: NodeJS.ErrnoException) => {
      const stage =
        this.headersUs >= 0 ? "streaming" : this.connectedUs >= 0 ? "connected" : "connecting";
      this.fail(classOfSocketError(error.code ?? "", stage), error.message || String(error.code));
    });
  }

  private respond(response: IncomingMessage): void {
    this.headersUs = this.settings.clock();
    this.httpStatus = response.statusCode ?? 0;
    const type = response.headers["content-type"] ?? "";
    if (this.httpStatus !== 200) {
      this.explain(response, classOfStatus(this.httpStatus), `status ${this.httpStatus}`);
      return;
    }
    if (!type.startsWith("text/event-stream")) {
      const html = type.includes("html");
      this.explain(response, html ? "html" : "not-a-stream", `the reply is ${type || "untyped"}`);
      return;
    }
    this.lastReadMs = performance.now();
    this.watchIdle();
    response.on("data", (bytes: Buffer) => {
      const now = this.settings.clock();
      this.lastReadMs = performance.now();
      this.reads += 1;
      this.bytesIn += bytes.length;
      const before = this.reader.rows.length;
      this.reader.push(bytes, now);
      if (this.reader.rows.length - before > 1) this.mergedReads += 1;
      const { failure, done } = this.reader;
      if (failure !== null) this.fail(failure.class, failure.message, failure.body);
      else if (done)
        this.after(GRACE_MS / 1000, () => {
          this.finish();
          response.destroy();
        });
    });
    response.on("end", () => {
      this.reader.end(this.settings.clock());
      this.finish();
    });
    response.on("aborted", () => this.cut());
    response.on("error", () => this.cut());
  }

  /** The connection broke within the stream; a stream that had said [DONE] had ended. */
  private cut(): void {
    if (this.reader.done) this.finish();
    else this.fail("reset", "the connection broke within the stream");
  }

  /** Judges a stream that ended by itself. */
  private finish(): void {
    const { reader } = this;
    const { failure } = reader;
    if (failure !== null) this.fail(failure.class, failure.message, failure.body);
    else if (!reader.done && !reader.finished)
      this.fail("incomplete", "the stream ended without finish_reason and [DONE]");
    else if (reader.rows.length === 0) this.fail("no-tokens", "the stream brought no text");
    else {
      if (!reader.done) reader.warnings.add("no-done");
      this.settle(null);
    }
  }

  /** Reads the start of a reply that is no stream, then fails with what it says. */
  private explain(response: IncomingMessage, kind: ErrorClass, what: string): void {
    const parts: Buffer[] = [];
    let size = 0;
    const told = (): void => {
      const body = Buffer.concat(parts).toString("utf8");
      const said = saidBy(body);
      const wait = Number(response.headers["retry-after"] ?? Number.NaN);
      const retryAfterSeconds = Number.isFinite(wait) ? wait : null;
      this.fail(kind, said === "" ? what : `${what}: ${said}`, body || null, retryAfterSeconds);
    };
    response.on("data", (bytes: Buffer) => {
      this.bytesIn += bytes.length;
      this.reads += 1;
      if (size < BODY_BYTES) parts.push(bytes);
      size += bytes.length;
      // Whoever answers a stream with an endless page is not waited for.
      if (size >= BODY_BYTES) {
        told();
        response.destroy();
      }
    });
    response.on("end", told);
    response.on("error", told);
    response.on("aborted", told);
  }

  private fail(
    kind: ErrorClass,
    message: string,
    body: string | null = null,
    retryAfterSeconds: number | null = null,
  ): void {
    if (this.over) return;
    this.settle({
      class: kind,
      message: message.slice(0, MESSAGE_CHARS),
      body: body?.slice(0, MESSAGE_CHARS) ?? null,
      retryAfterSeconds,
    });
    this.request.destroy();
  }

  private settle(failure: RequestFailure | null): void {
    if (this.over) return;
    this.over = true;
    for (const timer of this.timers) clearTimeout(timer);
    if (this.idle !== null) clearTimeout(this.idle);
    // What still comes of the connection is nobody's.
    this.request.on("error", () => {});
    this.resolve({
      reader: this.reader,
      startedUs: this.startedUs,
      connectedUs: this.connectedUs,
      reused: this.reused,
      headersUs: this.headersUs,
      endedUs: this.settings.clock(),
      httpStatus: this.httpStatus,
      reads: this.reads,
      mergedReads: this.mergedReads,
      bytesIn: this.bytesIn,
      failure,
    });
  }

  private after(seconds: number, call: () => void): void {
    if (!Number.isFinite(seconds)) return;
    // Longer waits overflow the timer and would fire at once.
    const timer = setTimeout(call, Math.min(seconds * 1000, 2 ** 31 - 1));
    this.timers.add(timer);
  }

  /** Looks again when the last read would be too old, instead of setting a timer per read. */
  private watchIdle(): void {
    const { idle } = this.settings.timeouts;
    if (!Number.isFinite(idle) || this.over) return;
    const left = idle * 1000 - (performance.now() - this.lastReadMs);
    if (left <= 0) this.fail("idle-timeout", `nothing came for ${idle} s`);
    else this.idle = setTimeout(() => this.watchIdle(), Math.ceil(left));
  }
}

/** What a body says went wrong: the message of a JSON error, else its first line if that is text. */
function saidBy(body: string): string {
  try {
    return messageOf(JSON.parse(body));
  } catch {
    const line = body.trimStart().split("\n", 1)[0] ?? "";
    return line.startsWith("<") ? "" : line.slice(0, 200);
  }
}
