/** A whole small cluster to test against: API server, controllers, nodes with kubelets, a kubeconfig to reach it. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { control } from "./controllers.conformance.ts";
import { Kubelet } from "./kubelet.conformance.ts";
import { FakeApiServer, type Offers } from "./server.conformance.ts";
import { Store, type Stored } from "./store.conformance.ts";

/** What a node offers. */
export interface NodeShape {
  readonly gpus: number;
  readonly cpus: number;
  readonly memory: string;
}

export class FakeCluster implements AsyncDisposable {
  readonly store = new Store();
  readonly server: FakeApiServer;
  readonly folder = mkdtempSync(join(tmpdir(), "fake-kubernetes-"));
  readonly kubeconfig = join(this.folder, "config");
  private readonly ended = new AbortController();
  private readonly kubelets = new Map<string, { kubelet: Kubelet; end: AbortController }>();
  private readonly token = randomUUID();

  constructor(offers: Offers) {
    this.server = new FakeApiServer(this.store, offers, this.token);
  }

  static async start(
    offers: Offers = { mutableResources: true, resize: true },
  ): Promise<FakeCluster> {
    const cluster = new FakeCluster(offers);
    const url = await cluster.server.listen();
    control(cluster.store, cluster.ended.signal);
    writeFileSync(
      cluster.kubeconfig,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "fake",
        clusters: [{ name: "fake", cluster: { server: url, "insecure-skip-tls-verify": true } }],
        users: [{ name: "tester", user: { token: cluster.token } }],
        contexts: [
          { name: "fake", context: { cluster: "fake", user: "tester", namespace: "training" } },
        ],
      }),
    );
    return cluster;
  }

  addNode(name: string, { gpus, cpus, memory }: NodeShape): void {
    const end = new AbortController();
    this.kubelets.set(name, { kubelet: new Kubelet(this.store, name, end.signal), end });
    this.store.create("nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, labels: { "kubernetes.io/hostname": name } },
      spec: { taints: [] },
      status: {
        allocatable: { cpu: String(cpus), memory, "nvidia.com/gpu": String(gpus), pods: "110" },
        conditions: [{ type: "Ready", status: "True", reason: "KubeletReady", message: "" }],
      },
    });
  }

  /** The machine dies: its processes are gone, the node is tainted, pods are evicted after their toleration. */
  loseNode(name: string): void {
    this.kubelets.get(name)?.end.abort();
    const node = this.store.get("nodes", undefined, name);
    node.status.conditions[0].status = "Unknown";
    node.status.lostAt = new Date().toISOString();
    node.spec.taints.push({ key: "node.kubernetes.io/unreachable", effect: "NoExecute" });
    this.store.update("nodes", node);
  }

  /** Processes started for Jobs whose name begins so. */
  starts(job: string): number {
    const all = [...this.kubelets.values()].flatMap(({ kubelet }) => kubelet.starts);
    return all.filter((name) => name === job || name.startsWith(`${job}-a`)).length;
  }

  changeNode(name: string, change: (node: Stored) => void): void {
    const node = this.store.get("nodes", undefined, name);
    change(node);
    this.store.update("nodes", node);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ended.abort();
    for (const { end } of this.kubelets.values()) end.abort();
    await this.server[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }
}
