/** `millrace cluster status`, `cancel` and `drain`: asking the scheduler in a folder. */
import { homedir } from "node:os";
import { join } from "node:path";
import {
  askScheduler,
  type ClusterStatus,
  runFiles,
  statusFromJournal,
} from "@millrace/cluster/run";
import { MillraceError } from "@millrace/core";
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
  const done = await askScheduler(runFiles(folder).control, { verb: "cancel", ids: [...ids] });
  if (done === null) throw nobodyRuns(folder);
  if (session.json) session.printJson({ schema: "millrace.cluster-cancel/1", ...(done as object) });
  else session.note(`cancelled: ${ids.join(", ")}`);
  return 0;
}

export async function clusterDrainCommand(
  session: Session,
  server: string | null,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const folder = stateFolder(flags);
  const on = flags["undo"] !== true;
  const done = await askScheduler(runFiles(folder).control, { verb: "drain", server, on });
  if (done === null) throw nobodyRuns(folder);
  if (session.json) session.printJson({ schema: "millrace.cluster-drain/1", server, on });
  else session.note(`${server ?? "the cluster"} ${on ? "drains" : "takes jobs again"}`);
  return 0;
}

function nobodyRuns(folder: string): MillraceError {
  return new MillraceError("USAGE", `no scheduler runs in ${folder}`, {
    hint: "millrace cluster run with the same jobs file goes on; cancel and drain then",
  });
}

function nothingThere(folder: string): MillraceError {
  return new MillraceError("USAGE", `there is no cluster in ${folder}`, {
    hint: "give --name or --state as for cluster run",
  });
}
