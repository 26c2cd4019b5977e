/** `millrace cluster status`, `cancel` and `drain`: asking the scheduler in a folder, or doing what it would where none runs. */
import { homedir } from "node:os";
import { join } from "node:path";
import {
  type AbsentTerms,
  askScheduler,
  type ClusterStatus,
  cancelWithoutScheduler,
  drainWithoutScheduler,
  runFiles,
  statusFromJournal,
} from "@millrace/cluster/run";
import { MillraceError } from "@millrace/core";
import { openEngine } from "../../cluster/engine.ts";
import { statusLines } from "../../cluster/status-lines.ts";
import type { Session } from "../../session.ts";

interface PlaceFlags {
  readonly name?: string;
  readonly state?: string;
}

/** The scheduler's folder. */
export function stateFolder({ name = "default", state }: PlaceFlags): string {
  return state ?? join(homedir(), ".millrace", "cluster", name);
}

export async function clusterStatusCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const folder = stateFolder(flags);
  const asked = (await askScheduler(runFiles(folder).control, {
    verb: "status",
  })) as ClusterStatus | null;
  const status = asked ?? statusFromJournal(folder);
  if (status === null) throw nothingThere(folder);
  if (session.json) session.printJson(status);
  else {
    session.print(statusLines(status, session));
    if (asked === null)
      session.warn("no scheduler runs here: this is what its journal says; jobs may have gone on");
  }
  return 0;
}

export async function clusterCancelCommand(
  session: Session,
  ids: readonly string[],
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const folder = stateFolder(flags);
  const told = await askScheduler(runFiles(folder).control, { verb: "cancel", ids: [...ids] });
  const schema = "millrace.cluster-cancel/1";
  if (told !== null) {
    const result = { schema, scheduler: true, cancelled: ids, pending: [], problem: null };
    if (session.json) session.printJson(result);
    else session.note(`cancelled: ${ids.join(", ")}`);
    return 0;
  }
  session.note("no scheduler runs here: jobs that run are stopped now, and waited for");
  const done = await session.interruptible((signal) =>
    cancelWithoutScheduler(absent(session, folder, signal), ids),
  );
  const { cancelled, pending, problem } = done;
  if (session.json) session.printJson({ schema, scheduler: false, ...done });
  if (cancelled.length > 0) session.note(`cancelled: ${cancelled.join(", ")}`);
  if (problem !== null) session.warn(problem);
  if (pending.length === 0) return 0;
  session.warn(
    `not ended yet: ${pending.join(", ")}; the order is in the journal, and the next millrace cluster run or cancel carries it out`,
  );
  return 1;
}

export async function clusterDrainCommand(
  session: Session,
  server: string | null,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const folder = stateFolder(flags);
  const on = flags["undo"] !== true;
  const told = await askScheduler(runFiles(folder).control, { verb: "drain", server, on });
  const schema = "millrace.cluster-drain/1";
  const place = server ?? "the cluster";
  if (told !== null) {
    if (session.json) session.printJson({ schema, server, on, scheduler: true });
    else session.note(`${place} ${on ? "drains" : "takes jobs again"}`);
    return 0;
  }
  const { running, problem } = await session.interruptible((signal) =>
    drainWithoutScheduler(absent(session, folder, signal), server, on),
  );
  if (session.json) session.printJson({ schema, server, on, scheduler: false, running, problem });
  if (problem !== null) session.warn(problem);
  if (server === null)
    session.note(
      "no scheduler runs here, so nothing is started; the next millrace cluster run does",
    );
  else
    session.note(
      `${place} ${on ? "is drained" : "takes jobs again"} from the next millrace cluster run on; no scheduler runs now`,
    );
  if (on && running.length > 0)
    session.note(
      `${running.length === 1 ? "this job goes" : "these jobs go"} on there, to the end: ${running.join(", ")}`,
    );
  return 0;
}

function absent(session: Session, folder: string, signal: AbortSignal): AbsentTerms {
  return { folder, open: openEngine, note: (text) => session.warn(text), signal };
}

function nothingThere(folder: string): MillraceError {
  return new MillraceError("USAGE", `there is no cluster in ${folder}`, {
    hint: "give --name or --state as for cluster run",
  });
}
