/**
 * Whose fault a stall was: the server's times of every token, joined to the client's. This file: the timeline that the
 * server told (docs/serving.md, "Times of every token"), laid beside the chunks of the stream that brought it.
 */
import type { ServerTimes } from "../contracts.ts";
import type { RawColumns } from "../transport/chunk-rows.ts";
import { countOf, type Json, listOf, objectOf } from "../transport/wire-chunk.ts";

const SCHEMA = "millrace.timeline/1";

/** Rows per choice that are believed. */
const MOST_ROWS = 1 << 20;

/** The times, and the tokens of each chunk as the server counted them. */
export interface JoinedTimeline {
  readonly server: ServerTimes;
  /** Null where the server told nothing of a chunk with text. */
  readonly tokens: Int32Array | null;
}

interface Rows {
  readonly tokens: readonly number[];
  readonly event: readonly number[];
  readonly step: readonly number[];
  readonly plannedUs: readonly number[];
  readonly submittedUs: readonly number[];
  readonly completedUs: readonly number[];
  readonly busyUs: readonly number[];
  readonly writtenUs: readonly number[];
}

/** The joined times; null where the timeline is none that is known, or contradicts itself. */
export function joinTimeline(timeline: Json, raw: RawColumns): JoinedTimeline | null {
  const { clock } = timeline;
  const arrivedUs = countOf(timeline.arrivedUs);
  if (timeline.schema !== SCHEMA || typeof clock !== "string" || arrivedUs < 0) return null;
  if (raw.event === null) return null;
  const n = raw.timeUs.length;
  const column = (): Float64Array => new Float64Array(n).fill(-1);
  const joined = {
    clock: clock.slice(0, 100),
    arrivedUs,
    queuedUs: [] as number[],
    admittedUs: [] as number[],
    step: new Int32Array(n).fill(-1),
    plannedUs: column(),
    submittedUs: column(),
    completedUs: column(),
    busyUs: column(),
    writtenUs: column(),
  };
  const tokens = new Int32Array(n);
  const chunksOf = new Map<string, number[]>();
  raw.event.forEach((event, i) => {
    const key = `${raw.choice[i]}/${event}`;
    const chunks = chunksOf.get(key);
    if (chunks === undefined) chunksOf.set(key, [i]);
    else chunks.push(i);
  });
  for (const entry of listOf(timeline.choices)) {
    const choice = objectOf(entry);
    const rows = choice && rowsOf(choice);
    if (choice === null || rows === null) return null;
    const index = countOf(choice.index);
    while (joined.queuedUs.length <= Math.min(index, 1024)) {
      joined.queuedUs.push(-1);
      joined.admittedUs.push(-1);
    }
    joined.queuedUs[index] = countOf(choice.queuedUs);
    joined.admittedUs[index] = countOf(choice.admittedUs);
    let held = 0;
    let last = -1;
    rows.event.forEach((event, k) => {
      // Tokens whose text was held back count where it shows.
      held += Math.max(0, rows.tokens[k] as number);
      for (const i of chunksOf.get(`${index}/${event}`) ?? []) {
        tokens[i] = held;
        held = 0;
        last = i;
        joined.step[i] = rows.step[k] as number;
        joined.plannedUs[i] = rows.plannedUs[k] as number;
        joined.submittedUs[i] = rows.submittedUs[k] as number;
        joined.completedUs[i] = rows.completedUs[k] as number;
        joined.busyUs[i] = rows.busyUs[k] as number;
        joined.writtenUs[i] = rows.writtenUs[k] as number;
      }
    });
    // Tokens at the end whose text never showed, as halves of characters.
    if (last >= 0) tokens[last] = (tokens[last] as number) + held;
  }
  const told = joined.step.every((step, i) => step >= 0 || raw.chars[i] === 0);
  return { server: joined, tokens: told ? tokens : null };
}

/** The columns of a choice, of one length and in order of time; null otherwise. */
function rowsOf(choice: Json): Rows | null {
  const column = (name: string): readonly number[] =>
    listOf(choice[name]).map((value) => (typeof value === "number" ? value : Number.NaN));
  const rows: Rows = {
    tokens: column("tokens"),
    event: column("event"),
    step: column("step"),
    plannedUs: column("plannedUs"),
    submittedUs: column("submittedUs"),
    completedUs: column("completedUs"),
    busyUs: column("busyUs"),
    writtenUs: column("writtenUs"),
  };
  const n = rows.event.length;
  if (n > MOST_ROWS) return null;
  for (const values of Object.values<readonly number[]>({ ...rows }))
    if (values.length !== n || values.some((value) => !Number.isFinite(value))) return null;
  for (let i = 0; i < n; i++) {
    const [planned = 0, submitted = 0, completed = 0, written = 0] = [
      rows.plannedUs[i],
      rows.submittedUs[i],
      rows.completedUs[i],
      rows.writtenUs[i],
    ];
    const ordered = planned <= submitted && submitted <= completed;
    const later = i === 0 || (rows.completedUs[i - 1] as number) <= completed;
    const busier = i === 0 || (rows.busyUs[i - 1] as number) <= (rows.busyUs[i] as number);
    if (!(ordered && later && busier && (written < 0 || written >= completed))) return null;
  }
  return rows;
}
