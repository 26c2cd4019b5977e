/** A node's kubelet that runs containers as real processes of this machine: real exit codes, signals and graces. */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { quantity } from "../objects.ts";
import { attempt, room } from "./controllers.conformance.ts";
import type { Store, Stored } from "./store.conformance.ts";

/** One node's kubelet; ends its processes with the signal. */
export class Kubelet {
  readonly node: string;
  /** Processes started so far, by the name of the pod's owner or of the pod. */
  readonly starts: string[] = [];
  private readonly store: Store;
  private readonly signal: AbortSignal;
  private readonly running = new Map<string, ChildProcess>();
  private readonly known = new Set<string>();
  private readonly stopping = new Set<string>();
  private readonly stopWatch: () => void;
  private pending = false;

  constructor(store: Store, node: string, signal: AbortSignal) {
    this.store = store;
    this.node = node;
    this.signal = signal;
    this.stopWatch = store.watch(null, (event) => {
      if (event.resource !== "pods" || this.pending) return;
      this.pending = true;
      setImmediate(() => {
        this.pending = false;
        if (!this.signal.aborted) this.sync();
      });
    });
    signal.addEventListener("abort", () => this.kill());
  }

  /** The machine is gone, and all that ran on it. */
  kill(): void {
    this.stopWatch();
    for (const child of this.running.values()) killGroup(child, "SIGKILL");
  }

  private sync(): void {
    for (const pod of this.store.list("pods")) {
      if (pod.spec.nodeName !== this.node) continue;
      const uid = pod.metadata.uid ?? "";
      if (pod.metadata.deletionTimestamp !== undefined) this.end(pod, uid);
      else if (!this.known.has(uid)) this.begin(pod, uid);
      else if (pod.status.phase === "Running") attempt(() => this.resize(pod));
    }
  }

  private begin(pod: Stored, uid: string): void {
    this.known.add(uid);
    const container = pod.spec.containers[0];
    if (/not-there/.test(container.image)) {
      this.report(pod, (now) => {
        const message = `Back-off pulling image "${container.image}"`;
        now.status.containerStatuses = [
          { name: container.name, state: { waiting: { reason: "ImagePullBackOff", message } } },
        ];
      });
      return;
    }
    // Pods of others are there to take room; nothing of them runs.
    if (container.command === undefined) return;
    const [program, ...args] = container.command as [string, ...string[]];
    const child = spawn(program, args, {
      cwd: container.workingDir,
      env: { PATH: process.env.PATH, ...environmentOf(pod) },
      detached: true,
      stdio: "ignore",
    });
    let settled = false;
    child.once("spawn", () => {
      this.running.set(uid, child);
      this.starts.push(pod.metadata.ownerReferences?.[0]?.name ?? pod.metadata.name);
      this.report(pod, (now) => {
        now.status.phase = "Running";
        now.status.containerStatuses = [
          {
            name: container.name,
            state: { running: { startedAt: new Date().toISOString() } },
            resources: now.spec.containers[0].resources,
            allocatedResources: now.spec.containers[0].resources?.requests,
          },
        ];
      });
    });
    const over = (terminated: object, succeeded: boolean): void => {
      if (settled || this.signal.aborted) return;
      settled = true;
      this.running.delete(uid);
      this.report(pod, (now) => {
        now.status.phase = succeeded ? "Succeeded" : "Failed";
        now.status.containerStatuses = [{ name: container.name, state: { terminated } }];
      });
      this.sync();
    };
    child.once("error", (error) =>
      over({ exitCode: 128, reason: "StartError", message: error.message }, false),
    );
    child.once("exit", (code, signal) => {
      const exitCode = code ?? 128 + constants.signals[signal as NodeJS.Signals];
      over({ exitCode, reason: exitCode === 0 ? "Completed" : "Error" }, exitCode === 0);
    });
  }

  /** Asks, waits for the grace, kills; then the object may go. */
  private end(pod: Stored, uid: string): void {
    const child = this.running.get(uid);
    if (child === undefined) {
      if (pod.status.phase === "Pending" || pod.status.phase === "Running")
        if (this.known.has(uid) && pod.status.phase === "Running") return;
      attempt(() => this.store.delete("pods", pod, 0));
      attempt(() => {
        const now = this.store.get("pods", pod.metadata.namespace, pod.metadata.name);
        this.store.update("pods", now);
      });
      return;
    }
    if (this.stopping.has(uid)) return;
    this.stopping.add(uid);
    killGroup(child, "SIGTERM");
    const grace = (pod.metadata.deletionGracePeriodSeconds ?? 30) * 1000;
    const timer = setTimeout(() => killGroup(child, "SIGKILL"), grace);
    child.once("exit", () => clearTimeout(timer));
  }

  /** In place: what the node can never give is infeasible, what it cannot give now waits. */
  private resize(pod: Stored): void {
    const status = pod.status.containerStatuses?.[0];
    const wanted = pod.spec.containers[0].resources;
    const same = JSON.stringify(status?.resources) === JSON.stringify(wanted);
    const others = (pod.status.conditions ?? []).filter(
      (c: { type: string }) => !c.type.startsWith("PodResize"),
    );
    if (same) {
      if (others.length === pod.status.conditions.length) return;
      pod.status.conditions = others;
      this.store.update("pods", pod);
      return;
    }
    const node = this.store.get("nodes", undefined, this.node);
    const { allocatable } = node.status;
    const never = ["cpu", "memory"].some(
      (name) => quantity(wanted.requests[name]) > quantity(allocatable[name]),
    );
    if (!never && room(this.store, node, pod, pod.spec)) {
      status.resources = wanted;
      status.allocatedResources = wanted.requests;
      pod.status.conditions = others;
      this.store.update("pods", pod);
      return;
    }
    const reason = never ? "Infeasible" : "Deferred";
    const before = pod.status.conditions.find(
      (c: { type: string }) => c.type === "PodResizePending",
    );
    if (before?.reason === reason) return;
    pod.status.conditions = [
      ...others,
      {
        type: "PodResizePending",
        status: "True",
        reason,
        message: "Node didn't have enough capacity",
      },
    ];
    this.store.update("pods", pod);
  }

  private report(pod: Stored, change: (now: Stored) => void): void {
    if (this.signal.aborted) return;
    attempt(() => {
      const now = this.store.get("pods", pod.metadata.namespace, pod.metadata.name);
      change(now);
      this.store.update("pods", now);
    });
  }
}

/** Plain values, and those that come from the pod. */
function environmentOf(pod: Stored): Record<string, string> {
  const environment: Record<string, string> = {};
  const container = pod.spec.containers[0];
  for (const { name, value, valueFrom } of container.env ?? []) {
    const label = /^metadata\.labels\['(.+)'\]$/.exec(valueFrom?.fieldRef?.fieldPath ?? "");
    if (value !== undefined) environment[name] = value;
    else if (label !== null) environment[name] = pod.metadata.labels?.[label[1] ?? ""] ?? "";
    else if (valueFrom?.resourceFieldRef?.resource === "limits.cpu")
      environment[name] = String(Math.ceil(quantity(container.resources?.limits?.cpu)));
  }
  return environment;
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended in between.
  }
}
