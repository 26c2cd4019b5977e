/**
 * The twin of one engine: the same replica, KV policy and scheduler as the engine's, over a back end whose steps take the
 * time that a cost model says, and with what a client sees on top. Predicts, token by token, what serving a table of
 * requests on this machine will look like.
 */
import { EventHeap } from "@millrace/core";
import {
  createScheduler,
  type KvSettings,
  kvOf,
  offeredRequest,
  Replica,
  type RequestTable,
  type SchedulerName,
  type SchedulerOptions,
  SeqTable,
  ServedRecorder,
  type ServedRequest,
  type ServedRun,
  type StepCostModel,
} from "@millrace/serving";
import { runFleet } from "../fleet/run-fleet.ts";
import { VirtualBackend } from "../fleet/virtual-backend.ts";
import type { Chance } from "./chance.ts";

/** How the engine is made, in the words of its decision log. */
export interface TwinSettings {
  readonly scheduler: { readonly type: SchedulerName } & SchedulerOptions;
  readonly kv: KvSettings;
  readonly tableCapacity: number;
  readonly maxRequestTokens: number;
  readonly maxWaiting: number;
}

export interface TwinOptions {
  /** What schedulers are told of step times. */
  readonly cost: StepCostModel;
  /** What steps really take, and when requests arrive. */
  readonly chance: Chance;
  /** Asked now and then; true ends the run early. */
  readonly stop?: (now: number) => boolean;
}

/** A predicted run; times of its requests are the replica's, as in an engine's decision log. */
export interface TwinRun extends ServedRun {
  /** By row of the table: the request, or null when it was refused. */
  readonly byRow: readonly (ServedRequest | null)[];
  readonly refused: number;
  /** Seconds in which a step was computed. */
  readonly busySeconds: number;
  readonly endedAt: number;
}

/** Runs the twin over requests that arrive at the client's times. Deterministic. */
export function runTwin(
  settings: TwinSettings,
  requests: RequestTable,
  { cost, chance, stop }: TwinOptions,
): TwinRun {
  const offers = offersOf(requests, chance);
  const { table: arrivals, rowOf } = offers;
  const heap = new EventHeap();
  const table = new SeqTable(settings.tableCapacity);
  const kv = kvOf(settings.kv, table);
  const totalTokens = Int32Array.from(
    arrivals.promptTokens,
    (prompt, i) => prompt + (arrivals.outputTokens[i] as number),
  );
  const lengths = { totalTokens };
  const backend = new VirtualBackend({
    stages: 1,
    heap,
    replica: 0,
    cost: chance.cost,
    table,
    lengths,
  });
  const served = Array.from({ length: arrivals.count }, (_, i) =>
    offeredRequest(arrivals.arrivedAt[i] as number, arrivals.promptTokens[i] as number),
  );
  const recorder = new ServedRecorder(kv, (row) => served[row] as ServedRequest);
  const { type, ...options } = settings.scheduler;
  const replica = new Replica({
    table,
    kv,
    backend,
    maxRequestTokens: settings.maxRequestTokens,
    maxWaiting: settings.maxWaiting,
    scheduler: createScheduler(type, options, { table, kv, depth: 1, cost, vidur: false }),
    observer: recorder,
  });
  const refused = new Set<number>();
  const end = runFleet({
    requests: arrivals,
    replicas: [replica],
    heap,
    router: { route: () => 0 },
    background: true,
    rejected: (row) => void refused.add(row),
    ...(stop === undefined ? {} : { stop }),
  });
  const byRow: (ServedRequest | null)[] = new Array(requests.count).fill(null);
  served.forEach((request, i) => {
    if (!refused.has(i)) byRow[rowOf[i] as number] = request;
  });
  return {
    ...recorder.run(served.filter((_, i) => !refused.has(i))),
    byRow,
    refused: refused.size,
    busySeconds: backend.stageBusy[0] as number,
    endedAt: end.endedAt,
  };
}

/** Requests as the scheduler sees them arrive, and the row of each in the table they came from. */
function offersOf(
  requests: RequestTable,
  chance: Chance,
): { readonly table: RequestTable; readonly rowOf: Int32Array } {
  const at = Float64Array.from(
    requests.arrivedAt,
    (time, i) => time + chance.arrival(requests.promptTokens[i] as number),
  );
  const rowOf = Int32Array.from(at.keys()).sort(
    (a, b) => (at[a] as number) - (at[b] as number) || a - b,
  );
  const pick = <T extends Int32Array | Float64Array | Uint8Array>(column: T): T =>
    column.map((_, i) => column[rowOf[i] as number] as number) as T;
  const table: RequestTable = {
    ...requests,
    arrivedAt: pick(at),
    promptTokens: pick(requests.promptTokens),
    outputTokens: pick(requests.outputTokens),
    classIndex: pick(requests.classIndex),
    ids: null,
  };
  return { table, rowOf };
}
