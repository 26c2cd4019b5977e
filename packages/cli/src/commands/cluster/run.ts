/** `millrace cluster run`: jobs on real servers, with a live table. */
import { dirname, resolve } from "node:path";
import { type ClusterStatus, jobsFileSchema, runCluster, runFiles } from "@millrace/cluster/run";
import type { EngineTerms, Runner } from "@millrace/cluster/runners";
import { MillraceError } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import { readTextFile } from "@millrace/core/node";
import { engineOf } from "../../cluster/engine.ts";
import { modelsOf } from "../../cluster/flags.ts";
import { statusLines } from "../../cluster/status-lines.ts";
import type { Session } from "../../session.ts";
import { LiveBlock } from "../../ui/live-block.ts";
import { stateFolder } from "./control.ts";

interface RunFlags {
  readonly on?: EngineTerms["on"];
  readonly profiles?: string;
  readonly state?: string;
  readonly set?: readonly string[];
}

export async function clusterRunCommand(
  session: Session,
  path: string,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as RunFlags;
  const { on = "local", set = [] } = flags;
  const content = parseConfig(readTextFile(path), { file: path, schema: jobsFileSchema, set });
  const { name } = content.cluster;
  const folder = stateFolder({
    name,
    ...(flags.state === undefined ? {} : { state: flags.state }),
  });
  await using runner = await engineOf(on, content.cluster, runFiles(folder).runner);
  const profiles =
    flags.profiles ??
    (content.profiles === undefined ? undefined : resolve(dirname(path), content.profiles));
  const models = profiles === undefined ? new Map() : await modelsFor(runner, profiles);
  const { stdout, now } = session.surroundings;
  const live = !session.json && stdout.isTTY === true;
  const block = new LiveBlock(stdout, now);
  const say = (text: string): void => {
    block.clear();
    session.note(text);
  };
  const changes = stateChanges(say);
  say(`jobs of ${path} on ${on}; state and logs are in ${folder}`);
  const { ended, status } = await session.interruptible((signal) =>
    runCluster({
      folder,
      file: { path, content },
      models,
      runner,
      signal,
      note: (text) => {
        block.clear();
        session.warn(text);
      },
      onStatus: (seen) => {
        if (live) block.draw(statusLines(seen, session));
        else changes(seen);
      },
    }),
  );
  block.clear();
  if (session.json) session.printJson({ ...status, schema: "millrace.cluster-run/1", ended });
  else session.print(statusLines(status, session));
  if (ended === "left") {
    session.note("the jobs go on; the same command takes them up again");
    return 130;
  }
  const bad = status.jobs.some(({ state }) => state === "failed" || state === "rejected");
  return bad ? 1 : 0;
}

/** Profiles at the share of the engine's largest servers. */
async function modelsFor(runner: Runner, profiles: string) {
  const servers = (await runner.servers()).filter((server) => server.gpus > 0);
  const first = servers[0];
  if (first === undefined)
    throw new MillraceError("ENVIRONMENT_MISSING", `${runner.name} has no server with GPUs`);
  return modelsOf({
    profiles,
    gpusPerServer: first.gpus,
    cpusPerServer: first.cpus,
    memoryPerServer: first.hostBytes / 1e9,
  });
}

/** Says what changed, where there is no terminal for a table. */
function stateChanges(say: (text: string) => void): (status: ClusterStatus) => void {
  const last = new Map<string, string>();
  return ({ jobs }) => {
    for (const { id, state, attempt, slices, reason } of jobs) {
      const where = slices
        .map((s) => `${s.server} GPUs ${s.gpus.join(",")}, ${s.cpus} CPUs`)
        .join("; ");
      const now = `${state}${where === "" ? "" : ` on ${where} (start ${attempt})`}${reason === "" ? "" : `: ${reason}`}`;
      if (last.get(id) === now) continue;
      last.set(id, now);
      say(`job ${id} ${now}`);
    }
  };
}
