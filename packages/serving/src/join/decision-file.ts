/**
 * The decision log of an engine as a file: JSON lines. The first says what the replica was made of, `scheduler` lines
 * where another scheduler took over, `plan` lines what was decided; the rest are inputs. Replaying the inputs through a
 * replica made the same way must decide the same, byte for byte: that is the proof that simulator and engine are one.
 */
import { MillraceError } from "@millrace/core";
import { StaticKv, type StaticKvOptions } from "../kv/static.ts";
import { VattentionKv } from "../kv/vattention.ts";
import type { VattentionOptions } from "../kv/vattention-options.ts";
import { createScheduler, type SchedulerName, type SchedulerOptions } from "../scheduler/index.ts";
import type { KvManager, ReplicaObserver, StepCostModel } from "./contracts.ts";
import { type LogEntry, ReplayBackend, replay } from "./decision-log.ts";
import { planDigest } from "./plan-digest.ts";
import { Replica } from "./replica.ts";
import { SeqTable } from "./seq-table.ts";

/** Schema of the first line. */
export const DECISIONS_SCHEMA = "millrace.decisions/1";

/** How the KV policy was made. */
export type KvSettings =
  | { readonly type: "vattention"; readonly options: VattentionOptions }
  | { readonly type: "static"; readonly options: StaticKvOptions };

/** First line of a decision file. */
export interface DecisionHead {
  readonly kind: "engine";
  readonly schema: typeof DECISIONS_SCHEMA;
  readonly model: string;
  readonly tableCapacity: number;
  readonly maxRequestTokens: number;
  readonly maxWaiting: number;
  readonly kv: KvSettings;
  /** The host's monotonic clock, nanoseconds, when the log's clock was at 0: joins the log with a client's times. */
  readonly zeroNs?: string;
}

export type DecisionLine =
  | DecisionHead
  | {
      readonly kind: "scheduler";
      readonly settings: { readonly type: SchedulerName } & SchedulerOptions;
    }
  | { readonly kind: "plan"; readonly ticket: number; readonly digest: string }
  /** Not of a file: its last line was cut off, as of an engine that was killed. */
  | { readonly kind: "cut" }
  | LogEntry;

/** Kinds of lines that a file may have. */
const KINDS: ReadonlySet<unknown> = new Set<DecisionLine["kind"]>([
  ...(["engine", "scheduler", "plan"] as const),
  ...(["offer", "unblock", "cancel", "outcome", "background", "acknowledge"] as const),
]);

/** What a replay found. */
export interface ReplayReport {
  readonly model: string;
  readonly schedulers: readonly string[];
  readonly requests: number;
  readonly steps: number;
  /** First step that was decided differently, null when all were the same. */
  readonly difference: {
    readonly segment: number;
    readonly ticket: number;
    readonly logged: string | null;
    readonly replayed: string | null;
  } | null;
}

/** Settings of a policy, for the head of a log; null for policies that cannot be replayed. */
export function kvSettingsOf(kv: KvManager): KvSettings | null {
  if (kv instanceof VattentionKv) return { type: "vattention", options: kv.options };
  if (kv instanceof StaticKv)
    return { type: "static", options: { slots: kv.slots, slotTokens: kv.slotTokens } };
  return null;
}

/**
 * Parses the text of a decision file. A last line that was cut off is told by a line of kind `cut`. Throws TRACE_INVALID
 * with the line of the first that is none.
 */
export function parseDecisions(text: string, file: string): readonly DecisionLine[] {
  const lines: DecisionLine[] = [];
  const parts = text.split("\n");
  for (const [i, part] of parts.entries()) {
    if (part === "") continue;
    let line: DecisionLine | null;
    try {
      line = JSON.parse(part) as DecisionLine | null;
    } catch {
      if (i < parts.length - 1) throw invalid(file, i + 1, "is not JSON");
      lines.push({ kind: "cut" });
      break;
    }
    if (!KINDS.has(line?.kind)) throw invalid(file, i + 1, `is of no kind that a decision log has`);
    lines.push(line as DecisionLine);
  }
  const [head] = lines;
  if (head?.kind !== "engine" || head.schema !== DECISIONS_SCHEMA)
    throw invalid(file, 1, `does not begin a decision log of schema ${DECISIONS_SCHEMA}`);
  return lines;
}

/** A KV policy made as the settings say. */
export function kvOf(settings: KvSettings, table: SeqTable): KvManager {
  return settings.type === "vattention"
    ? new VattentionKv(table, settings.options)
    : new StaticKv(table, settings.options);
}

/**
 * Replays the file through a replica of its own. `cost` is needed for schedulers with chunking slo. `watch` is called with
 * the KV policy once and gives an observer of all that the replica does.
 */
export function replayDecisions(
  lines: readonly DecisionLine[],
  cost: StepCostModel,
  watch?: (kv: KvManager) => ReplicaObserver,
): ReplayReport {
  const head = lines[0] as DecisionHead;
  const table = new SeqTable(head.tableCapacity);
  const kv = kvOf(head.kv, table);
  const observer = watch?.(kv);
  const report = {
    model: head.model,
    schedulers: [] as string[],
    requests: 0,
    steps: 0,
    difference: null as ReplayReport["difference"],
  };
  for (const segment of segmentsOf(lines)) {
    const { type, ...options } = segment.settings;
    report.schedulers.push(type);
    const again: string[] = [];
    const backend = new ReplayBackend(1, (plan) => again.push(planDigest(plan)));
    const replica = new Replica({
      table,
      kv,
      backend,
      maxRequestTokens: head.maxRequestTokens,
      maxWaiting: head.maxWaiting,
      scheduler: createScheduler(type, options, { table, kv, depth: 1, cost, vidur: false }),
      ...(observer === undefined ? {} : { observer }),
    });
    replay(segment.inputs, replica, backend);
    report.requests += segment.inputs.filter((entry) => entry.kind === "offer").length;
    report.steps += segment.plans.length;
    // What a killed engine decided last may be what its log did not get.
    if (segment.cut && again.length === segment.plans.length + 1) again.pop();
    const steps = Math.max(again.length, segment.plans.length);
    for (let i = 0; i < steps; i++)
      if (again[i] !== segment.plans[i]) {
        report.difference = {
          segment: report.schedulers.length - 1,
          ticket: i,
          logged: segment.plans[i] ?? null,
          replayed: again[i] ?? null,
        };
        return report;
      }
  }
  return report;
}

interface Segment {
  readonly settings: { readonly type: SchedulerName } & SchedulerOptions;
  readonly inputs: LogEntry[];
  readonly plans: string[];
  cut: boolean;
}

/** The part of each scheduler: a switch happens when nothing runs, with tickets from 0. */
function segmentsOf(lines: readonly DecisionLine[]): readonly Segment[] {
  const segments: Segment[] = [];
  for (const line of lines) {
    if (line.kind === "engine") continue;
    if (line.kind === "scheduler") {
      segments.push({ settings: line.settings, inputs: [], plans: [], cut: false });
      continue;
    }
    const segment = segments.at(-1);
    if (segment === undefined) continue;
    if (line.kind === "cut") segment.cut = true;
    else if (line.kind === "plan") segment.plans.push(line.digest);
    else segment.inputs.push(line);
  }
  return segments;
}

function invalid(file: string, line: number, what: string): MillraceError {
  return new MillraceError("TRACE_INVALID", `${file}:${line} ${what}`, {
    hint: "decision logs are written by millrace serve --decision-log FILE",
    at: { file, line },
  });
}
