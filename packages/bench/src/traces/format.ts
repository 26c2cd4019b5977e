/**
 * Trace formats of serving workloads. One neutral model (LoadTrace) in the middle, one file per format around it, so that
 * every format converts to every other; what a format cannot carry is named, never dropped in silence.
 */
import { MillraceError } from "@millrace/core";
import type { LoadTrace } from "../contracts.ts";
import { azure } from "./azure.ts";
import { burstGpt } from "./burst-gpt.ts";
import { millrace } from "./millrace.ts";
import { mooncake } from "./mooncake.ts";
import { vidur } from "./vidur.ts";

/** What a format carries beside lengths. */
export interface Carries {
  readonly arrivals: boolean;
  readonly ids: boolean;
  readonly prefixes: boolean;
  readonly sessions: boolean;
}

export interface TraceFormat {
  readonly name: string;
  readonly text: string;
  readonly carries: Carries;
  /** Whether the start of a file (its first lines) is of this format. */
  recognises(head: string): boolean;
  /** Rows ascend in time. Throws TRACE_INVALID with file and line. */
  read(text: string, file: string): LoadTrace;
  write(trace: LoadTrace): Generator<string>;
}

/** All formats; earlier ones are tried first when a file does not say what it is. */
export const traceFormats: readonly TraceFormat[] = [millrace, mooncake, azure, burstGpt, vidur];

/** Names of the formats. */
export const traceFormatNames: readonly string[] = traceFormats.map(({ name }) => name);

/** The format of that name. Throws USAGE. */
export function traceFormat(name: string): TraceFormat {
  const found = traceFormats.find((format) => format.name === name);
  if (found !== undefined) return found;
  throw new MillraceError("USAGE", `there is no trace format ${JSON.stringify(name)}`, {
    hint: `formats are ${traceFormatNames.join(", ")}`,
  });
}

/** The format that a text is in. Throws TRACE_INVALID when it is none of them. */
export function recogniseTrace(text: string, file: string): TraceFormat {
  const head = text.slice(0, 4096);
  const found = traceFormats.find((format) => format.recognises(head));
  if (found !== undefined) return found;
  throw new MillraceError("TRACE_INVALID", `${file}:1 this is no trace format that is known`, {
    hint: `name it with --from; formats are ${traceFormatNames.join(", ")}`,
  });
}

/** What of a trace a format cannot carry, in words; empty when it carries all. */
export function lostIn(trace: LoadTrace, { carries, name }: TraceFormat): readonly string[] {
  const lost: string[] = [];
  if (trace.arrivedAt !== null && !carries.arrivals) lost.push("arrival times");
  if (trace.ids !== null && !carries.ids) lost.push("ids");
  if (trace.prefixHashes !== null && !carries.prefixes) lost.push("shared prefixes");
  if (trace.sessions !== null && !carries.sessions) lost.push("sessions");
  return lost.map((what) => `${name} does not carry ${what}`);
}
