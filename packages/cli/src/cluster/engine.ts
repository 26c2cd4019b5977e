/** From what a jobs file says, or a journal, to the engine that runs the jobs. */
import { availableParallelism, hostname, totalmem } from "node:os";
import type { JobsFile } from "@millrace/cluster/run";
import {
  type EngineTerms,
  LocalRunner,
  offeredBounds,
  presentGpus,
  type Runner,
  SlurmRunner,
} from "@millrace/cluster/runners";
import { usableMemoryBytes } from "@millrace/system";

/** Opens the engine that `--on` names, as the file's terms want it; `state` is the runner's folder. */
export function engineOf(
  on: EngineTerms["on"],
  terms: JobsFile["cluster"],
  state: string,
): Promise<Runner> {
  const cluster = terms.name;
  if (on === "kubernetes") return onKubernetes(cluster, terms.namespace ?? null, terms.lostAfter);
  if (on === "slurm") {
    const conf = process.env["SLURM_CONF"] ?? null;
    return openEngine({ on, cluster, partition: terms.partition ?? null, conf }, state);
  }
  const servers = terms.servers?.map(({ name, gpus, cpus, hostMemory }) => ({
    name,
    gpus,
    cpus,
    hostBytes: hostMemory,
  }));
  const bound = terms.bound ?? offeredBounds();
  const host = hostname();
  return openEngine({ on, host, cluster, servers: servers ?? [thisMachine()], bound }, state);
}

/** Opens an engine as it was opened before. Kubernetes is asked with the configuration at hand. */
export async function openEngine(engine: EngineTerms, state: string): Promise<Runner> {
  if (engine.on === "local") return new LocalRunner({ state, ...engine });
  if (engine.on === "slurm") return new SlurmRunner({ state, ...engine });
  return onKubernetes(engine.cluster, engine.namespace, engine.lostSeconds);
}

async function onKubernetes(
  cluster: string,
  namespace: string | null,
  lostSeconds: number,
): Promise<Runner> {
  const { connect, KubernetesRunner, kubernetesOptions } = await import(
    "@millrace/cluster/kubernetes"
  );
  const connection = await connect();
  return new KubernetesRunner(connection, {
    ...kubernetesOptions,
    cluster,
    namespace: namespace ?? connection.namespace,
    lostSeconds,
  });
}

/** The machine as one server; without GPUs every two cores count as a place for a job. */
function thisMachine() {
  const cpus = availableParallelism();
  return {
    name: hostname(),
    gpus: presentGpus() || Math.max(1, Math.floor(cpus / 2)),
    cpus,
    // A fifth stays with the system and the scheduler.
    hostBytes: Math.floor(0.8 * Math.min(totalmem(), usableMemoryBytes())),
  };
}
