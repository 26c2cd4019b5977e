/**
 * One stream from bytes to rows: events, JSON, deltas, usage, finish reasons. Knows no sockets and no clock; the time
 * of the read that is being parsed is set by whoever pushes. Rules: bench.md section 5; a chunk is never taken for a
 * token.
 */
import type { ErrorClass, RequestWarning, UsageReport } from "../contracts.ts";
import { type ChunkRow, ChunkRows } from "./chunk-rows.ts";
import { SseParser, type SseSink } from "./sse-parser.ts";
import {
  countOf,
  flatNumbers,
  type Json,
  listOf,
  messageOf,
  objectOf,
  textOf,
  toolText,
} from "./wire-chunk.ts";

/** A failure found in the stream. */
export interface StreamFailure {
  readonly class: ErrorClass;
  readonly message: string;
  readonly body: string | null;
}

/** Highest choice index that is believed. */
const MAX_CHOICES = 1024;

/** Reads one stream; fields are what is known so far. */
export class StreamReader implements SseSink {
  /** µs from run start of the read that is being pushed. */
  nowUs = 0;
  failure: StreamFailure | null = null;
  /** [DONE] came. */
  done = false;
  firstEventUs = -1;
  firstTokenUs = -1;
  firstContentUs = -1;
  lastTokenUs = -1;
  finishUs = -1;
  usage: UsageReport | null = null;
  serverTimings: Record<string, number> | null = null;
  /** The server's times of every token as they came, checked by whoever joins them; null without. */
  timeline: Json | null = null;
  readonly finish: (string | null)[] = [];
  readonly rows = new ChunkRows();
  readonly warnings = new Set<RequestWarning>();
  /** Text per choice in order of arrival, where it is kept; rows' chars cut it into chunks. */
  readonly text: string[] = [];
  private readonly parser = new SseParser(this);
  private readonly keepText: boolean;
  private firstStray: string | null = null;
  private events = 0;
  /** Cumulative usage each choice had reached. */
  private readonly reached: number[] = [];
  private readonly row: ChunkRow = {
    timeUs: 0,
    chars: 0,
    choice: 0,
    kind: 0,
    ids: -1,
    logprobs: -1,
    usage: -1,
    serverUs: -1,
    event: -1,
  };
  private readonly timed: boolean;

  /** `timed`: the server was asked for its times of every token. */
  constructor(keepText: boolean, timed = false) {
    this.keepText = keepText;
    this.timed = timed;
  }

  /** Every choice that spoke has finished. */
  get finished(): boolean {
    return this.finish.length > 0 && this.finish.every((reason) => reason !== null);
  }

  /** Parses a read that arrived at `timeUs`. */
  push(bytes: Buffer, timeUs: number): void {
    this.nowUs = timeUs;
    this.parser.push(bytes);
    if (this.parser.overflow) this.fail("protocol", "a line of the stream never ends", null);
  }

  /** The body is over. */
  end(timeUs: number): void {
    this.nowUs = timeUs;
    if (this.parser.end()) this.warnings.add("unterminated-event");
    if (this.parser.badUtf8) this.warnings.add("bad-utf8");
    if (this.events === 0 && this.firstStray !== null)
      this.fail("protocol", "the stream has lines without field names", this.firstStray);
  }

  event(type: string, data: string): void {
    this.events++;
    if (this.firstEventUs < 0) this.firstEventUs = this.nowUs;
    if (this.failure !== null) return;
    if (data === "[DONE]" || data.trim() === "[DONE]") {
      if (this.done) this.warnings.add("data-after-done");
      this.done = true;
      return;
    }
    if (this.done) {
      this.warnings.add("data-after-done");
      return;
    }
    const head = data.trimStart();
    if (head === "" || head.startsWith(":")) {
      this.warnings.add("data-keep-alive");
      return;
    }
    let chunk: Json | null;
    try {
      chunk = objectOf(JSON.parse(data));
    } catch {
      if (type === "error") this.fail("error-event", data, data);
      else this.fail("protocol", "an event is not JSON", data);
      return;
    }
    if (chunk === null) {
      this.fail("protocol", "an event is not a JSON object", data);
      return;
    }
    const { error } = chunk;
    if (type === "error" || (error !== undefined && error !== null && error !== false)) {
      const said = messageOf(error) || messageOf(chunk);
      this.fail(
        "error-event",
        said === "" ? "the server sent an error without a message" : said,
        data,
      );
      return;
    }
    this.chunk(chunk);
  }

  stray(line: string): void {
    // Old llama.cpp servers put an error in a field of that name.
    if (line.startsWith("error:") && this.failure === null) {
      const text = line.slice(6).trim();
      let said = text;
      try {
        said = messageOf(JSON.parse(text)) || text;
      } catch {
        // It is not JSON, so the text is the message.
      }
      this.fail("error-event", said, text);
    }
    this.firstStray ??= line;
  }

  private fail(kind: ErrorClass, message: string, body: string | null): void {
    this.failure ??= { class: kind, message, body };
  }

  private chunk(chunk: Json): void {
    const usage = objectOf(chunk.usage);
    const cumulative = usage === null ? -1 : countOf(usage.completion_tokens);
    if (usage !== null) this.usage = usageOf(usage, this.usage);
    this.row.event = this.timed ? this.events - 1 : -1;
    if (this.timed) this.timeline ??= objectOf(chunk.timeline);
    const timings = objectOf(chunk.timings) ?? objectOf(chunk.millrace);
    if (timings !== null) {
      this.serverTimings ??= {};
      flatNumbers(timings, this.serverTimings);
    }
    for (const choice of listOf(chunk.choices)) {
      const object = objectOf(choice);
      if (object !== null) this.choice(object, cumulative, serverTime(timings));
    }
  }

  private choice(choice: Json, cumulative: number, serverUs: number): void {
    const index = Math.min(MAX_CHOICES, Math.max(0, countOf(choice.index)));
    while (this.finish.length <= index) this.finish.push(null);
    const delta = objectOf(choice.delta) ?? objectOf(choice.message);
    const logprobs = objectOf(choice.logprobs);
    const ids = choice.token_ids ?? delta?.token_ids;
    const listed = logprobs?.content ?? logprobs?.tokens;
    const { row } = this;
    row.timeUs = this.nowUs;
    row.choice = index;
    row.serverUs = serverUs;
    row.ids = Array.isArray(ids) ? ids.length : -1;
    row.logprobs = Array.isArray(listed) ? listed.length : -1;
    row.usage = cumulative;
    if (delta === null) this.add(textOf(choice.text), 0);
    else {
      // Some servers send the same reasoning under both names.
      const reasoning = textOf(delta.reasoning_content) || textOf(delta.reasoning);
      if (reasoning !== "") this.add(reasoning, 1);
      const content = textOf(delta.content);
      if (content !== "") this.add(content, 0);
      const tool = toolText(delta);
      if (tool !== "") this.add(tool, 2);
      const refusal = textOf(delta.refusal);
      if (refusal !== "") this.add(refusal, 3);
      // Tokens without visible text yet.
      this.add("", 0);
    }
    const reason = choice.finish_reason;
    if (typeof reason === "string" && reason !== "") {
      this.finish[index] = reason;
      this.finishUs = this.nowUs;
    }
  }

  /** Adds a row when there is text or a token; the counts of a chunk belong to its first row. */
  private add(text: string, kind: number): void {
    const { row } = this;
    const grew = row.usage > (this.reached[row.choice] ?? 0);
    if (text === "" && row.ids < 1 && row.logprobs < 1 && !grew) return;
    if (row.usage >= 0) this.reached[row.choice] = row.usage;
    row.chars = text.length;
    row.kind = kind;
    this.rows.add(row);
    if (row.ids > 0) row.ids = 0;
    if (row.logprobs > 0) row.logprobs = 0;
    this.lastTokenUs = this.nowUs;
    if (text === "") return;
    if (this.firstTokenUs < 0) this.firstTokenUs = this.nowUs;
    if (kind === 0 && this.firstContentUs < 0) this.firstContentUs = this.nowUs;
    if (this.keepText) this.text[row.choice] = (this.text[row.choice] ?? "") + text;
  }
}

function usageOf(usage: Json, before: UsageReport | null): UsageReport {
  const number = (value: unknown, old: number | null | undefined): number | null => {
    const n = countOf(value);
    return n >= 0 ? n : (old ?? null);
  };
  const details = objectOf(usage.completion_tokens_details);
  const prompt = objectOf(usage.prompt_tokens_details);
  return {
    promptTokens: number(usage.prompt_tokens, before?.promptTokens),
    completionTokens: number(usage.completion_tokens, before?.completionTokens),
    reasoningTokens: number(details?.reasoning_tokens, before?.reasoningTokens),
    cachedTokens: number(prompt?.cached_tokens, before?.cachedTokens),
  };
}

/** µs on the server's clock since it started the request; -1 where it does not say. */
function serverTime(timings: Json | null): number {
  if (timings === null) return -1;
  const own = countOf(timings.token_us);
  if (own >= 0) return own;
  const decode = countOf(timings.predicted_ms);
  return decode < 0 ? -1 : (decode + Math.max(0, countOf(timings.prompt_ms))) * 1000;
}
