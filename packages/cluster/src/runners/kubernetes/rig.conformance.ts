/** Jobs for tests, and runners on the fake cluster. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Behaviour, RunnerRig } from "../runner.conformance.ts";
import type { GrantedSlice, RunnerJob } from "../runner.ts";
import { FakeCluster } from "./fake/cluster.conformance.ts";
import type { Offers } from "./fake/server.conformance.ts";
import { connect, type KubernetesOptions, KubernetesRunner, kubernetesOptions } from "./index.ts";

export const GB = 1e9;
const quick = { requestMs: 1000, callMs: 10_000, backoffMs: 20 };

/** A program of the shell; a deaf one makes the file `<id>.deaf` when it is. */
export function testJob(folder: string, id: string, behaviour: Behaviour, gpus = 1): RunnerJob {
  const stay = "while :; do sleep 0.05; done";
  const bodies = {
    ends: "exit 0",
    fails: "exit 3",
    stays: stay,
    deaf: `trap '' TERM; echo deaf; : > '${join(folder, `${id}.deaf`)}'; ${stay}`,
    missing: "",
  } as const;
  return {
    id,
    argv:
      behaviour === "missing"
        ? [join(folder, "no-such-program")]
        : ["/bin/sh", "-c", bodies[behaviour]],
    directory: folder,
    environment: {},
    user: null,
    logFile: join(folder, "log"),
    gpus,
    graceSeconds: 1,
    image: "registry.example/train:1",
  };
}

export async function openRunner(
  cluster: FakeCluster,
  over: Partial<KubernetesOptions> = {},
): Promise<KubernetesRunner> {
  const connection = await connect({ kubeconfig: cluster.kubeconfig });
  return new KubernetesRunner(connection, {
    ...kubernetesOptions,
    namespace: connection.namespace,
    lostSeconds: 0,
    times: quick,
    ...over,
  });
}

/** Two nodes of 4 GPUs, 8 CPUs and 16 GiB. */
export async function twoNodes(offers?: Offers): Promise<FakeCluster> {
  const cluster = await FakeCluster.start(offers);
  for (const name of ["gpu-1", "gpu-2"])
    cluster.addNode(name, { gpus: 4, cpus: 8, memory: "16Gi" });
  return cluster;
}

export async function rigOf(offers: Offers): Promise<RunnerRig> {
  const cluster = await twoNodes(offers);
  const runners: KubernetesRunner[] = [];
  return {
    open: async () => {
      const runner = await openRunner(cluster);
      runners.push(runner);
      return runner;
    },
    job: (id, behaviour, gpus) => testJob(cluster.folder, id, behaviour, gpus),
    starts: (id) =>
      // A deaf program counts from when it is deaf.
      id !== "deaf" || existsSync(join(cluster.folder, `${id}.deaf`)) ? cluster.starts(id) : 0,
    loseServer: async (name) => cluster.loseNode(name),
    [Symbol.asyncDispose]: async () => {
      for (const runner of runners) await runner[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

export function sliceOn(server: string, gpus: number, cpus: number, bytes: number): GrantedSlice {
  const ids = Array.from({ length: gpus }, (_, i) => i);
  return { server, gpus: ids, cpus, hostBytes: bytes, cacheBytes: 0, numa: null };
}
