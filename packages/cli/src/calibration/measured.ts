/** A load sent to a real server, and what client and engine saw of it, joined on one clock. */
import {
  type LoadTrace,
  type RequestRecord,
  type RunEnd,
  type RunHeader,
  startRun,
} from "@millrace/bench";
import { InvariantError, MillraceError } from "@millrace/core";
import {
  type DecisionHead,
  type EngineRun,
  engineRun,
  type ObservedStream,
  type RequestTable,
  type ServedRequest,
  type Span,
  type StepCostModel,
  type StepTimed,
  type TransportSample,
} from "@millrace/serving";
import type { ClientRequest } from "@millrace/sim/twin";

/** What the client kept. */
export interface ClientRun {
  readonly header: RunHeader;
  /** By row of the table. */
  readonly records: readonly RequestRecord[];
  readonly end: RunEnd;
}

export interface SendOptions {
  readonly url: string;
  readonly model: string;
  readonly modelPath: string;
  readonly requests: RequestTable;
  readonly seed: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number, note: string) => void;
}

const WARMUP_REQUESTS = 4;
const TRACE = "arrivals";

/** Sends the requests at their times. Rejects with INTERRUPTED. */
export async function send(options: SendOptions): Promise<ClientRun> {
  const { requests, signal } = options;
  const { openTokenizer } = await import("../commands/bench/tokenizer.ts");
  const { tokenizer, close } = await openTokenizer(options.modelPath);
  const trace: LoadTrace = {
    count: requests.count,
    arrivedAt: requests.arrivedAt,
    promptTokens: requests.promptTokens,
    outputTokens: requests.outputTokens,
    ids: null,
    prefixHashes: null,
    blockTokens: 512,
    sessions: null,
  };
  const run = startRun({
    endpoint: {
      url: options.url,
      api: "completions",
      model: options.model,
      // One chunk per step, whether or not its token can be shown as text yet.
      extraBody: { return_token_ids: true },
    },
    load: {
      arrivals: { type: "trace", path: TRACE },
      warmup: { requests: WARMUP_REQUESTS },
    },
    seed: options.seed,
    traces: { [TRACE]: trace },
    tokenizer,
    // Of its own: a calibration sends many loads under one signal, and each would leave its listeners there.
    signal: AbortSignal.any([signal]),
  });
  const timer = setInterval(() => {
    const { ok, failed, inFlight } = run.counters();
    options.onProgress(ok + failed, requests.count, `${inFlight} in flight`);
  }, 200);
  try {
    const records: RequestRecord[] = [];
    for await (const record of run) if (!record.warmup) records.push(record);
    if (signal.aborted) throw new MillraceError("INTERRUPTED", "interrupted while measuring");
    records.sort((a, b) => a.index - b.index);
    return { header: await run.header, records, end: await run.end };
  } finally {
    clearInterval(timer);
    close();
  }
}

/** The requests as their client saw them, on its own clock. */
export function seenByClient({ records }: ClientRun): readonly ClientRequest[] {
  return records.map((record) => ({
    arrivedAt: record.scheduledUs / 1e6,
    tokenAt: tokenTimes(record).map((us) => us / 1e6),
  }));
}

/** A client's request with the engine's view of it; null where the engine never got it. */
export interface JoinedRequest {
  readonly client: ClientRequest;
  readonly startedAt: number;
  readonly replica: ServedRequest | null;
  readonly asked: number;
}

/** A run as both sides saw it, on the engine's clock. */
export interface MeasuredRun {
  readonly requests: readonly JoinedRequest[];
  /** Its steps and pages are those of the span. */
  readonly engine: EngineRun;
  /** Steps of the span. */
  readonly steps: readonly StepTimed[];
  readonly failed: number;
  /** p99 of how late requests were started, seconds. */
  readonly startLateness: number;
}

/** Seconds of the engine's clock at zero of the client's. */
function clockShift(client: ClientRun, head: DecisionHead): number {
  if (head.zeroNs === undefined) throw new InvariantError("the decision log names no clock");
  return Number(BigInt(client.header.startMonotonicNs) - BigInt(head.zeroNs)) / 1e9;
}

/** From the first scheduled request to the last token, on the engine's clock; warm-up lies before it. */
export function spanOf(client: ClientRun, head: DecisionHead): Span {
  const shift = clockShift(client, head);
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const record of client.records) {
    from = Math.min(from, record.scheduledUs);
    to = Math.max(to, tokenTimes(record).at(-1) ?? record.scheduledUs);
  }
  return { from: from / 1e6 + shift, to: to / 1e6 + shift };
}

/** Steps that began in the span. */
export function stepsIn(steps: readonly StepTimed[], { from, to }: Span): readonly StepTimed[] {
  return steps.filter(({ at }) => at >= from && at <= to);
}

/** Joins records with the engine's log by prompt length, in the order of both. */
export function joinRun(
  client: ClientRun,
  lines: Parameters<typeof engineRun>[0],
  steps: readonly StepTimed[],
  cost: StepCostModel,
): MeasuredRun {
  const head = lines[0] as DecisionHead;
  const span = spanOf(client, head);
  const engine = engineRun(lines, cost, span);
  const shift = clockShift(client, head);
  const at = (us: number): number => us / 1e6 + shift;
  const free = [...engine.requests];
  const joined = new Map<RequestRecord, ServedRequest>();
  for (const record of [...client.records].sort((a, b) => a.startedUs - b.startedUs)) {
    const prompt = record.usage?.promptTokens;
    if (record.status !== "ok" || prompt === undefined || prompt === null) continue;
    const i = free.findIndex(
      (r) => r.promptTokens === prompt && r.offeredAt >= at(record.startedUs),
    );
    const [found] = i < 0 ? [] : free.splice(i, 1);
    if (found !== undefined) joined.set(record, found);
  }
  return {
    requests: client.records.map((record) => ({
      client: { arrivedAt: at(record.scheduledUs), tokenAt: tokenTimes(record).map(at) },
      startedAt: at(record.startedUs),
      replica: joined.get(record) ?? null,
      asked: record.askedPromptTokens ?? 0,
    })),
    engine,
    steps: stepsIn(steps, span),
    failed: client.records.filter((record) => record.status !== "ok").length,
    startLateness: client.end.self.startLateness.p99 / 1e6,
  };
}

/** Arrival of each token, µs. */
function tokenTimes({ status, chunks }: RequestRecord): number[] {
  if (status !== "ok") return [];
  const times: number[] = [];
  chunks.timeUs.forEach((time, i) => {
    for (let k = 0; k < (chunks.tokens[i] as number); k++) times.push(time);
  });
  return times;
}

/** What clients saw of the answers, as one would see those of a server that tells nothing else. */
export function observedStreams({ requests }: MeasuredRun): readonly ObservedStream[] {
  return requests.flatMap(({ client: { tokenAt }, startedAt, replica }) =>
    replica === null || tokenAt.length === 0
      ? []
      : [{ startedAt, promptTokens: replica.promptTokens, tokenAt }],
  );
}

/** The requests of a run as samples of what lies between client and engine. */
export function transportSamples(run: MeasuredRun): readonly TransportSample[] {
  return run.requests.flatMap(({ client, startedAt, replica, asked }) =>
    replica === null
      ? []
      : [
          {
            startedAt,
            offeredAt: replica.offeredAt,
            promptTokens: replica.promptTokens,
            askedTokens: asked,
            emittedAt: replica.tokenAt,
            receivedAt: client.tokenAt,
          },
        ],
  );
}
