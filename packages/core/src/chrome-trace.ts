/**
 * Writer of timelines in Chrome's JSON trace format, which Perfetto and chrome://tracing open. Streams: memory stays
 * constant however long the run. Times are seconds; the file holds microseconds with nanosecond digits.
 */
import { invariant } from "./errors.ts";

/** Values shown beside an event. */
export type TraceArgs = Readonly<Record<string, unknown>>;

const chunkLength = 65_536;

/**
 * Hands chunks of about 64 KB to `sink`; together they are one JSON document, complete after `end`. Complete events of one
 * (pid, tid) must nest or not overlap; async events may overlap and are matched by category, id and name.
 */
export class ChromeTraceWriter {
  private readonly sink: (chunk: string) => void;
  private readonly quoted = new Map<string, string>();
  private buffer = '{"displayTimeUnit":"ms","traceEvents":[';
  private separator = "\n";
  private ended = false;

  constructor(sink: (chunk: string) => void) {
    this.sink = sink;
  }

  /** Labels a process track (one replica, for instance). */
  processName(pid: number, name: string): void {
    this.emit(
      `{"ph":"M","name":"process_name","pid":${pid},"tid":0,"args":{"name":${this.quote(name)}}}`,
    );
  }

  /** Labels a thread track. */
  threadName(pid: number, tid: number, name: string): void {
    this.emit(
      `{"ph":"M","name":"thread_name","pid":${pid},"tid":${tid},"args":{"name":${this.quote(name)}}}`,
    );
  }

  /** A slice with start and duration. */
  complete(
    name: string,
    pid: number,
    tid: number,
    startSeconds: number,
    durationSeconds: number,
    args?: TraceArgs,
  ): void {
    this.emit(
      `{"ph":"X","name":${this.quote(name)},"pid":${pid},"tid":${tid},"ts":${micros(startSeconds)},"dur":${micros(durationSeconds)}${tail(args)}`,
    );
  }

  /** Values of a counter track from this time on; each key is a series. */
  counter(
    name: string,
    pid: number,
    seconds: number,
    values: Readonly<Record<string, number>>,
  ): void {
    this.emit(
      `{"ph":"C","name":${this.quote(name)},"pid":${pid},"ts":${micros(seconds)}${tail(values)}`,
    );
  }

  asyncBegin(
    category: string,
    id: number | string,
    name: string,
    pid: number,
    seconds: number,
    args?: TraceArgs,
  ): void {
    this.async("b", category, id, name, pid, seconds, args);
  }

  asyncEnd(
    category: string,
    id: number | string,
    name: string,
    pid: number,
    seconds: number,
    args?: TraceArgs,
  ): void {
    this.async("e", category, id, name, pid, seconds, args);
  }

  asyncInstant(
    category: string,
    id: number | string,
    name: string,
    pid: number,
    seconds: number,
    args?: TraceArgs,
  ): void {
    this.async("n", category, id, name, pid, seconds, args);
  }

  /** Starts an arrow from the slice of (pid, tid) that encloses this time. */
  flowStart(
    category: string,
    id: number | string,
    name: string,
    pid: number,
    tid: number,
    seconds: number,
  ): void {
    this.flow("s", category, id, name, pid, tid, seconds);
  }

  /** Leads the arrow through the enclosing slice. */
  flowStep(
    category: string,
    id: number | string,
    name: string,
    pid: number,
    tid: number,
    seconds: number,
  ): void {
    this.flow("t", category, id, name, pid, tid, seconds);
  }

  /** Ends the arrow at the enclosing slice. */
  flowEnd(
    category: string,
    id: number | string,
    name: string,
    pid: number,
    tid: number,
    seconds: number,
  ): void {
    this.flow("f", category, id, name, pid, tid, seconds);
  }

  /** Closes the document; the last call. */
  end(): void {
    invariant(!this.ended, "the trace has ended");
    this.buffer += "\n]}\n";
    this.sink(this.buffer);
    this.buffer = "";
    this.ended = true;
  }

  private async(
    phase: "b" | "e" | "n",
    category: string,
    id: number | string,
    name: string,
    pid: number,
    seconds: number,
    args: TraceArgs | undefined,
  ): void {
    this.emit(
      `{"ph":"${phase}","cat":${this.quote(category)},"id":${this.quote(String(id))},"name":${this.quote(name)},"pid":${pid},"tid":0,"ts":${micros(seconds)}${tail(args)}`,
    );
  }

  private flow(
    phase: "s" | "t" | "f",
    category: string,
    id: number | string,
    name: string,
    pid: number,
    tid: number,
    seconds: number,
  ): void {
    // bp "e" binds the end to the enclosing slice, as start and step do anyway.
    this.emit(
      `{"ph":"${phase}"${phase === "f" ? ',"bp":"e"' : ""},"cat":${this.quote(category)},"id":${this.quote(String(id))},"name":${this.quote(name)},"pid":${pid},"tid":${tid},"ts":${micros(seconds)}}`,
    );
  }

  private emit(event: string): void {
    invariant(!this.ended, "the trace has ended");
    this.buffer += this.separator + event;
    this.separator = ",\n";
    if (this.buffer.length >= chunkLength) {
      this.sink(this.buffer);
      this.buffer = "";
    }
  }

  /** JSON of a name; names repeat by the thousand, ids do not, so the cache starts over when it is full. */
  private quote(text: string): string {
    let json = this.quoted.get(text);
    if (json === undefined) {
      json = JSON.stringify(text);
      if (this.quoted.size >= 1024) this.quoted.clear();
      this.quoted.set(text, json);
    }
    return json;
  }
}

/** The arguments and the closing brace of an event; JSON has no NaN, so values that are not finite become null. */
function tail(args: TraceArgs | undefined): string {
  return args === undefined ? "}" : `,"args":${JSON.stringify(args)}}`;
}

function micros(seconds: number): number {
  invariant(Number.isFinite(seconds), `a trace event at ${seconds} s`);
  return Math.round(seconds * 1e9) / 1e3;
}
