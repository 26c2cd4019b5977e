/**
 * The suite of all runners on a real cluster: MILLRACE_TEST_KUBERNETES=1, with KUBECONFIG naming one that may be used for
 * tests (kind or k3s with two nodes of 4 CPUs will do). GPUs are a resource that the test announces on two nodes and takes
 * back; jobs run busybox in a namespace of their own.
 */
import { randomUUID } from "node:crypto";
import { test } from "vitest";
import { type RunnerRig, runnerConformance } from "../runner.conformance.ts";
import { KubeApi } from "./api.ts";
import { type Connection, connect, KubernetesRunner, kubernetesOptions } from "./index.ts";
import { isTrue, type KubeObject, type Node } from "./objects.ts";
import { testJob } from "./rig.conformance.ts";

const gpuResource = "millrace.dev/gpu";
const pointer = `/status/capacity/${gpuResource.replace("/", "~1")}`;

interface Event extends KubeObject {
  readonly reason?: string;
  readonly involvedObject: { readonly name?: string };
}

async function realRig(): Promise<RunnerRig> {
  const connection = await connect();
  const api = new KubeApi(connection);
  const namespace = `millrace-test-${randomUUID().slice(0, 8)}`;
  await api.create("/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  const { items } = await api.list<Node>("/api/v1/nodes", {});
  const nodes = items.filter(({ status }) => isTrue(status?.conditions, "Ready")).slice(0, 2);
  for (const { metadata } of nodes)
    await api.patch(`/api/v1/nodes/${metadata.name}/status`, [
      { op: "add", path: pointer, value: "4" },
    ]);
  const runners: KubernetesRunner[] = [];
  return {
    open: async () => {
      const runner = new KubernetesRunner(connection, {
        ...kubernetesOptions,
        namespace,
        gpuResource,
        toleratedTaints: ["node-role.kubernetes.io/control-plane"],
      });
      runners.push(runner);
      return runner;
    },
    job: (id, behaviour, gpus) => {
      const job = testJob("/tmp", id, behaviour, gpus);
      return { ...job, image: "busybox:1.36" };
    },
    starts: async (id) => {
      if (id === "deaf" && !(await isDeaf(connection, api, namespace))) return 0;
      const events = await api.list<Event>(`/api/v1/namespaces/${namespace}/events`, {});
      return events.items.filter(
        ({ reason, involvedObject }) =>
          reason === "Started" && involvedObject.name?.startsWith(`${id}-`),
      ).length;
    },
    [Symbol.asyncDispose]: async () => {
      for (const runner of runners) await runner[Symbol.asyncDispose]();
      for (const { metadata } of nodes)
        await api.patch(`/api/v1/nodes/${metadata.name}/status`, [{ op: "remove", path: pointer }]);
      await api.remove(`/api/v1/namespaces/${namespace}`);
    },
  };
}

/** Whether the program has said that it is deaf. */
async function isDeaf(connection: Connection, api: KubeApi, namespace: string): Promise<boolean> {
  const pods = await api.list(`/api/v1/namespaces/${namespace}/pods`, {
    labelSelector: "millrace.dev/job=deaf",
  });
  const name = pods.items[0]?.metadata.name;
  if (name === undefined) return false;
  const limit = AbortSignal.timeout(8000);
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/log`;
  const answer = await connection.open("GET", path, null, limit);
  let text = "";
  for await (const part of answer) text += String(part);
  return text.includes("deaf");
}

const wanted = process.env.MILLRACE_TEST_KUBERNETES === "1" && process.env.KUBECONFIG !== undefined;
if (wanted) runnerConformance("Kubernetes (the cluster of KUBECONFIG)", realRig);
else
  test.skip("Kubernetes: no real cluster, MILLRACE_TEST_KUBERNETES=1 and KUBECONFIG name one", () => {});
