/**
 * One gap, taken apart. On a common clock the way of a token is a row of moments: the one before was sampled, its own
 * step was submitted, it was sampled, written, read. A gap runs from read to read, so what lies before the last read is
 * no part of it, and the parts of a gap sum to it.
 */
import type { RequestRecord, ServerTimes, StallCause } from "../contracts.ts";
import type { BusyClient } from "./busy-client.ts";
import type { FittedClock } from "./clock-fit.ts";

/** A gap and its parts, µs. Reused from call to call. */
export interface Gap {
  /** Row of the chunk that ends it, and its position among the chunks of its choice. */
  row: number;
  position: number;
  choice: number;
  atUs: number;
  us: number;
  /** False where the server told nothing of the chunk, or of the one before. */
  known: boolean;
  readonly parts: Record<StallCause, number>;
}

/** Calls `take` for every gap of a record in order; the first of each choice is its time to first token. */
export function eachGap(
  record: RequestRecord,
  clock: FittedClock | null,
  busy: BusyClient,
  take: (gap: Gap) => void,
): void {
  const { chunks, scheduledUs, server } = record;
  const { timeUs, tokens, choice } = chunks;
  const gap: Gap = {
    ...{ row: 0, position: 0, choice: 0, atUs: 0, us: 0, known: false },
    parts: { scheduling: 0, compute: 0, frontend: 0, network: 0, client: 0 },
  };
  const before = new Map<number, { row: number; readUs: number; n: number }>();
  for (let i = 0; i < timeUs.length; i++) {
    if (tokens[i] === 0) continue;
    const c = choice[i] as number;
    const last = before.get(c) ?? { row: -1, readUs: scheduledUs, n: 0 };
    gap.row = i;
    gap.choice = c;
    gap.position = last.n;
    gap.atUs = timeUs[i] as number;
    gap.us = Math.max(0, gap.atUs - last.readUs);
    gap.known = false;
    if (server !== null && clock !== null && (server.completedUs[i] as number) >= 0) {
      if (last.row < 0) first(gap, record, server, clock, busy);
      else if ((server.completedUs[last.row] as number) >= 0)
        later(gap, record, server, clock, busy, last);
    }
    take(gap);
    before.set(c, { row: i, readUs: gap.atUs, n: last.n + 1 });
  }
}

function later(
  gap: Gap,
  record: RequestRecord,
  server: ServerTimes,
  clock: FittedClock,
  busy: BusyClient,
  last: { readonly row: number; readonly readUs: number },
): void {
  const { row, parts } = gap;
  const at = (column: Float64Array, i: number): number =>
    clock.clientUs(server.arrivedUs + (column[i] as number));
  const from = last.readUs;
  const submitted = Math.max(from, at(server.submittedUs, row));
  const completed = Math.max(from, at(server.completedUs, row));
  // Steps between the two that computed for it without showing anything: held-back text, a prompt computed again.
  const own = (server.completedUs[row] as number) - (server.submittedUs[row] as number);
  const hidden = Math.max(
    0,
    (server.busyUs[row] as number) - (server.busyUs[last.row] as number) - own,
  );
  const waited = submitted - from;
  const computed = Math.min(waited, hidden);
  parts.scheduling = waited - computed;
  parts.compute = computed + completed - submitted;
  rest(gap, record, server, clock, busy, completed, from);
}

function first(
  gap: Gap,
  record: RequestRecord,
  server: ServerTimes,
  clock: FittedClock,
  busy: BusyClient,
): void {
  const { row, parts, choice } = gap;
  const { scheduledUs, startedUs, worker } = record;
  const since = (us: number): number => clock.clientUs(server.arrivedUs + us);
  const arrived = Math.max(startedUs, since(0));
  const queued = Math.max(arrived, since(Math.max(0, server.queuedUs[choice] ?? 0)));
  const completed = Math.max(queued, since(server.completedUs[row] as number));
  parts.compute = Math.min(server.busyUs[row] as number, completed - queued);
  parts.scheduling = completed - queued - parts.compute;
  rest(gap, record, server, clock, busy, completed, queued);
  parts.frontend += queued - arrived;
  // It left late, or its bytes did.
  const out = busy.within(worker, startedUs, arrived);
  parts.client += Math.max(0, startedUs - scheduledUs) + out;
  parts.network += arrived - startedUs - out;
}

/** From the sampled token to its reading; what rounding left over goes to the network. */
function rest(
  gap: Gap,
  { worker }: RequestRecord,
  server: ServerTimes,
  clock: FittedClock,
  busy: BusyClient,
  completed: number,
  from: number,
): void {
  const { row, parts, atUs } = gap;
  const writtenUs = server.writtenUs[row] as number;
  const written =
    writtenUs < 0 ? completed : Math.max(from, clock.clientUs(server.arrivedUs + writtenUs));
  const read = Math.max(written, atUs);
  parts.frontend = Math.max(0, written - completed);
  parts.client = busy.within(worker, written, read);
  parts.network = read - written - parts.client;
  gap.known = true;
}
