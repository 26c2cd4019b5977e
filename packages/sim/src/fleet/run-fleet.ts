/** The event loop: one heap over all replicas, arrivals from a sorted table. Deterministic: ties go by order of creation. */
import { type EventHeap, invariant } from "@millrace/core";
import { KvOrders, type Replica, type RequestTable } from "@millrace/serving";

/** Chooses the replica of a request. */
export interface FleetRouter {
  route(request: number, now: number): number;
}

export interface FleetRun {
  readonly requests: RequestTable;
  readonly replicas: readonly Replica[];
  /** Batch ends, pushed by the virtual back ends: time and replica. */
  readonly heap: EventHeap;
  readonly router: FleetRouter;
  /** Estimate of new tokens given to look-ahead schedulers; the true length by default, as in Vidur. */
  readonly expectedTokens?: Int32Array;
  /** A request was refused by its replica. */
  rejected(request: number): void;
  /** Asked every 256 events; true ends the run early. */
  stop?(now: number): boolean;
  /** Let KV managers map pages ahead while steps run (vattention); the orders are taken to succeed at once. */
  readonly background?: boolean;
  /** Simulated seconds after which the run ends; default unbounded. */
  readonly limitSeconds?: number;
}

export interface FleetEnd {
  /** Time of the last event, seconds. */
  readonly endedAt: number;
  /** Arrivals offered to replicas. */
  readonly offered: number;
  /** Ended before all work was done: by `stop` or by the time limit. */
  readonly cutShort: boolean;
}

/** Runs the fleet until all requests are served, `stop` says so, or the time limit is reached. */
export function runFleet(run: FleetRun): FleetEnd {
  const { requests, replicas, heap, router } = run;
  const { count, arrivedAt, promptTokens, outputTokens, classIndex, classes } = requests;
  const expected = run.expectedTokens ?? outputTokens;
  const limit = run.limitSeconds ?? Number.POSITIVE_INFINITY;
  const priorities = Int32Array.from(classes, (c) => c.priority);
  const tickets = new Int32Array(replicas.length);
  const touched = new Int32Array(replicas.length);
  const isTouched = new Uint8Array(replicas.length);
  const orders = run.background === true ? new KvOrders() : null;
  let cursor = 0;
  let now = 0;
  let events = 0;
  let cutShort = false;
  while (cursor < count || heap.size > 0) {
    const arrival = cursor < count ? arrivedAt[cursor]! : Number.POSITIVE_INFINITY;
    const end = heap.topTime;
    const at = arrival < end ? arrival : end;
    if (at > limit) {
      cutShort = true;
      break;
    }
    now = at;
    let touchedCount = 0;
    while (heap.topTime === now) {
      const r = heap.pop();
      replicas[r]!.completed(tickets[r]!++, now);
      if (isTouched[r] === 0) {
        isTouched[r] = 1;
        touched[touchedCount++] = r;
      }
      events++;
    }
    while (cursor < count && arrivedAt[cursor] === now) {
      const request = cursor++;
      const r = router.route(request, now);
      const replica = replicas[r]!;
      const seq = replica.table.add(
        request,
        promptTokens[request]!,
        outputTokens[request]!,
        expected[request]!,
        priorities[classIndex[request]!] ?? 0,
        now,
      );
      if (replica.offer(seq, now) !== "accepted") run.rejected(request);
      else if (isTouched[r] === 0) {
        isTouched[r] = 1;
        touched[touchedCount++] = r;
      }
    }
    for (let i = 0; i < touchedCount; i++) {
      const r = touched[i]!;
      isTouched[r] = 0;
      replicas[r]!.pump(now);
      if (orders !== null) mapAhead(replicas[r]!, orders, now);
    }
    if ((events & 255) === 0 && run.stop !== undefined && run.stop(now)) {
      cutShort = true;
      break;
    }
  }
  if (!cutShort) {
    for (const replica of replicas)
      invariant(replica.idle, "a replica stands still although requests wait");
  }
  return { endedAt: now, offered: cursor, cutShort };
}

/** Carries out a replica's look-ahead orders: mapping takes far less time than the step it runs beside. */
function mapAhead(replica: Replica, orders: KvOrders, now: number): void {
  orders.clear();
  replica.background(orders, now);
  for (let i = 0; i < orders.n; i++) replica.acknowledge(orders.id[i]!, true, now);
}
