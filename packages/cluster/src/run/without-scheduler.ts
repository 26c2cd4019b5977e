/**
 * `cancel` and `drain` where no scheduler runs: the command is the scheduler for a moment. It takes the same lock and the
 * next number, writes the order into the journal before it acts, and starts nothing. What it cannot do while it runs, the
 * next scheduler finds in the journal and does.
 */
import { statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import type { EngineTerms } from "../runners/engine.ts";
import type { Observed, Runner } from "../runners/runner.ts";
import { Books } from "./books.ts";
import { Charge, runFiles } from "./charge.ts";
import { Endings } from "./endings.ts";
import { readJournal } from "./journal.ts";
import { RunState } from "./run-state.ts";

/** How to act on a folder whose scheduler does not run. */
export interface AbsentTerms {
  readonly folder: string;
  /** Opens the engine that the journal names, with the runner's folder. */
  readonly open: (engine: EngineTerms, state: string) => Promise<Runner>;
  readonly note: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What became of an order to cancel. */
export interface Cancelled {
  /** Have ended, or never run. */
  readonly cancelled: readonly string[];
  /** The order is on disk and their end is still to come. */
  readonly pending: readonly string[];
  /** Why, when the engine did not answer. */
  readonly problem: string | null;
}

/** Beyond a job's grace: an engine needs a moment to say that it has ended. */
const patienceSeconds = 30;

const noLeases = {
  grant: () => {},
  askToStop: () => false,
  isConnected: () => false,
  release: () => {},
};

/**
 * Cancels jobs: those that run are stopped now, as `remove` of their engine does it, and waited for. Nothing is cancelled
 * when one of them cannot be. Throws USAGE for an id that neither waits nor runs (a job that ended while nobody looked has
 * its own verdict) and for a folder of another user, SCHEDULER_FENCED when somebody is in charge after all.
 */
export async function cancelWithoutScheduler(
  terms: AbsentTerms,
  ids: readonly string[],
): Promise<Cancelled> {
  await using runner = await openedBy(terms);
  using charge = new Charge(terms.folder);
  const { state } = charge;
  requireOpen(state, ids);
  const { books, endings } = partsOf(charge, runner, terms);
  const problem = await unanswered(async () => {
    await charge.takeOver(runner, books.now(), terms.signal);
    endings.settle(await look(runner, terms.signal));
  });
  requireOpen(state, ids);
  for (const id of ids) books.record({ at: books.now(), kind: "cancel", id });
  const open = (id: string): boolean => state.jobs.get(id)?.verdict === null;
  const carriedOut = async (): Promise<void> => {
    const limit = AbortSignal.any([terms.signal, AbortSignal.timeout(1000 * limitOf(state, ids))]);
    for (;;) {
      const engine = await look(runner, terms.signal);
      endings.settle(engine);
      await endings.forget(engine, terms.signal);
      // Gone from the engine too: what it kept of them is cleared away.
      if (ids.every((id) => !open(id) && !engine.has(id)) || limit.aborted) return;
      await runner.changed(limit);
    }
  };
  const silence = problem ?? (await unanswered(carriedOut));
  return { cancelled: ids.filter((id) => !open(id)), pending: ids.filter(open), problem: silence };
}

/** Seconds until the slowest of the jobs must have ended. */
function limitOf({ jobs }: RunState, ids: readonly string[]): number {
  return patienceSeconds + Math.max(0, ...ids.map((id) => jobs.get(id)?.job.graceSeconds ?? 0));
}

/**
 * Writes a drain down, for the next scheduler. Without a server nothing is written: where no scheduler runs nothing is
 * started, and who starts one wants jobs to be started. Returns the jobs that still run, on the server or at all.
 * Throws USAGE for a server that there is not, and as `cancelWithoutScheduler` does.
 */
export async function drainWithoutScheduler(
  terms: AbsentTerms,
  server: string | null,
  on: boolean,
): Promise<{ readonly running: readonly string[]; readonly problem: string | null }> {
  await using runner = await openedBy(terms);
  using charge = new Charge(terms.folder);
  const { state } = charge;
  const { books, endings } = partsOf(charge, runner, terms);
  const servers: string[] = [];
  const problem = await unanswered(async () => {
    await charge.takeOver(runner, books.now(), terms.signal);
    endings.settle(await look(runner, terms.signal));
    servers.push(...(await runner.servers(terms.signal)).map(({ name }) => name));
  });
  if (server !== null && problem === null && !servers.includes(server))
    throw new MillraceError("USAGE", `there is no server ${server}`, {
      hint: `there are ${servers.join(", ")}`,
    });
  if (server !== null) books.record({ at: books.now(), kind: "drain", server, on });
  const running = state
    .open()
    .filter(({ slices }) =>
      server === null ? slices.length > 0 : slices.some((slice) => slice.server === server),
    );
  return { running: running.map(({ entry }) => entry.id), problem };
}

/** The folder's engine. Only the folder's owner acts on it: what a user wrote there is not to be believed by another. */
async function openedBy({ folder, open }: AbsentTerms): Promise<Runner> {
  const { journal, runner } = runFiles(folder);
  const state = new RunState();
  for (const event of readJournal(journal).events) state.apply(event);
  const { engine } = state;
  if (engine === null)
    throw new MillraceError("USAGE", `there is no cluster in ${folder}`, {
      hint: "give --name or --state as for cluster run",
    });
  if (statSync(folder).uid !== process.getuid?.())
    throw new MillraceError("USAGE", `no scheduler runs in ${folder}, which is another user's`, {
      hint: "without a scheduler only its owner cancels and drains (root: sudo -u OWNER millrace …)",
    });
  return open(engine, runner);
}

function partsOf({ state, write }: Charge, runner: Runner, { note }: AbsentTerms) {
  const books = new Books({ state, write, note, now: () => Date.now() / 1000 });
  return { books, endings: new Endings(books, runner, noLeases) };
}

async function look(runner: Runner, signal: AbortSignal): Promise<ReadonlyMap<string, Observed>> {
  return new Map((await runner.observe(signal)).map((job) => [job.id, job]));
}

function requireOpen({ jobs }: RunState, ids: readonly string[]): void {
  for (const id of ids) {
    const job = jobs.get(id);
    if (job === undefined)
      throw new MillraceError("USAGE", `there is no job ${id}`, {
        hint: "millrace cluster status lists them",
      });
    if (job.verdict !== null)
      throw new MillraceError("USAGE", `job ${id} has ended already: ${job.verdict}`);
  }
}

/** What the engine's silence is said to be; null when it answered. Other errors go on. */
async function unanswered(work: () => Promise<void>): Promise<string | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (error instanceof MillraceError && error.code === "RUNNER_FAILED") return error.message;
    throw error;
  }
}
