/**
 * What acts on the store by itself: the Job controller (pods, counting of failures, suspension, ends), the scheduler, and
 * what becomes of pods on nodes that are lost. By the rules of Kubernetes 1.36.
 */
import { randomUUID } from "node:crypto";
import { quantity } from "../objects.ts";
import { StatusError, type Store, type Stored } from "./store.conformance.ts";

const tracking = "batch.kubernetes.io/job-tracking";

/** Runs all controllers at every change, until the signal aborts. */
export function control(store: Store, signal: AbortSignal): void {
  let pending = false;
  const stop = store.watch(null, () => {
    if (pending || signal.aborted) return;
    pending = true;
    setImmediate(() => {
      pending = false;
      if (signal.aborted) return;
      for (const job of store.list("jobs")) attempt(() => syncJob(store, job));
      for (const node of store.list("nodes")) attempt(() => evict(store, node));
      for (const pod of store.list("pods")) attempt(() => schedule(store, pod));
    });
  });
  signal.addEventListener("abort", stop);
}

/** Controllers lose races and look again at the next change. */
export function attempt(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
  }
}

type Conditions = { type: string; status: string; reason: string; message: string }[];

function condition(list: Conditions, type: string, status: string, reason: string): boolean {
  const found = list.find((c) => c.type === type);
  if (found !== undefined) {
    if (found.status === status) return false;
    found.status = status;
    found.reason = reason;
    return true;
  }
  if (status === "False") return false;
  list.push({ type, status, reason, message: reason });
  return true;
}

const has = (list: Conditions, type: string): boolean =>
  list.some((c) => c.type === type && c.status === "True");

/** Whether a pod counts as failed: deleted ones do, so that orphans are replaced. */
function isFailed(pod: Stored): boolean {
  return (
    pod.status.phase === "Failed" ||
    (pod.metadata.deletionTimestamp !== undefined && pod.status.phase !== "Succeeded")
  );
}

function syncJob(store: Store, job: Stored): void {
  const pods = store
    .list("pods", job.metadata.namespace)
    .filter((pod) => pod.metadata.ownerReferences?.[0]?.uid === job.metadata.uid);
  const before = JSON.stringify(job.status);
  const conditions: Conditions = job.status.conditions ?? [];
  job.status.conditions = conditions;
  const uncounted = pods.filter((pod) => pod.metadata.finalizers?.includes(tracking));
  const free = (of: readonly Stored[]): void => {
    for (const pod of of)
      attempt(() => {
        const now = store.get("pods", pod.metadata.namespace, pod.metadata.name);
        now.metadata.finalizers = (now.metadata.finalizers ?? []).filter((f) => f !== tracking);
        store.update("pods", now);
      });
  };
  if (job.metadata.deletionTimestamp !== undefined) {
    free(uncounted);
    for (const pod of pods) attempt(() => deletePod(store, pod));
    if (pods.length > 0) return;
    job.metadata.finalizers = [];
    store.update("jobs", job);
    return;
  }
  if (has(conditions, "Complete") || has(conditions, "Failed")) {
    free(uncounted);
    return;
  }
  const succeeded = uncounted.filter((pod) => pod.status.phase === "Succeeded");
  const failed = uncounted.filter(isFailed);
  const active = pods.filter((pod) => pod.status.phase !== "Succeeded" && !isFailed(pod));
  job.status.succeeded = (job.status.succeeded ?? 0) + succeeded.length;
  job.status.failed = (job.status.failed ?? 0) + failed.length;
  job.status.active = active.length;
  if (job.spec.suspend !== true) job.status.startTime ??= new Date().toISOString();
  const over = job.status.failed > (job.spec.backoffLimit ?? 6);
  const terminating = pods.some(
    (pod) => pod.metadata.deletionTimestamp !== undefined && pod.status.phase === "Running",
  );
  if (over || has(conditions, "FailureTarget")) {
    condition(conditions, "FailureTarget", "True", "BackoffLimitExceeded");
    for (const pod of active) attempt(() => deletePod(store, pod));
    // The end is told only when nothing of it runs any more.
    if (!terminating && active.length === 0)
      condition(conditions, "Failed", "True", "BackoffLimitExceeded");
  } else if (job.status.succeeded >= (job.spec.completions ?? 1)) {
    condition(conditions, "Complete", "True", "CompletionsReached");
  } else if (job.spec.suspend === true) {
    for (const pod of active) attempt(() => deletePod(store, pod));
    job.status.active = 0;
    condition(conditions, "Suspended", "True", "JobSuspended");
  } else {
    if (condition(conditions, "Suspended", "False", "JobResumed"))
      job.status.startTime = new Date().toISOString();
    for (let i = active.length; i < (job.spec.parallelism ?? 1); i++) createPod(store, job);
  }
  if (JSON.stringify(job.status) !== before) store.update("jobs", job);
  free([...succeeded, ...failed]);
}

function createPod(store: Store, job: Stored): void {
  const { metadata, spec } = structuredClone(job.spec.template);
  store.create("pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...metadata,
      name: `${job.metadata.name}-${randomUUID().slice(0, 5)}`,
      finalizers: [tracking],
      ownerReferences: [
        { uid: job.metadata.uid ?? "", kind: "Job", name: job.metadata.name, controller: true },
      ],
      ...(job.metadata.namespace !== undefined && { namespace: job.metadata.namespace }),
    },
    spec,
    status: { phase: "Pending", conditions: [] },
  });
}

function deletePod(store: Store, pod: Stored): void {
  if (pod.metadata.deletionTimestamp !== undefined) return;
  const grace =
    pod.spec.nodeName === undefined ? 0 : (pod.spec.terminationGracePeriodSeconds ?? 30);
  store.delete("pods", pod, grace);
}

/** The scheduler: one pod, the first node that fits. */
function schedule(store: Store, pod: Stored): void {
  if (pod.spec.nodeName !== undefined || pod.status.phase !== "Pending") return;
  if (pod.metadata.deletionTimestamp !== undefined) return;
  const node = store.list("nodes").find((n) => admits(n, pod) && room(store, n, pod, pod.spec));
  if (node !== undefined) pod.spec.nodeName = node.metadata.name;
  const status = node === undefined ? "False" : "True";
  const reason = node === undefined ? "Unschedulable" : "Scheduled";
  const { conditions } = pod.status;
  const changed = condition(conditions, "PodScheduled", status, reason);
  if (status === "False" && !conditions.some((c: { type: string }) => c.type === "PodScheduled"))
    conditions.push({ type: "PodScheduled", status, reason, message: "no node fits" });
  else if (!changed && node === undefined) return;
  store.update("pods", pod);
}

function admits(node: Stored, pod: Stored): boolean {
  if (!has(node.status.conditions, "Ready") || node.spec?.unschedulable === true) return false;
  const terms =
    pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
      ?.nodeSelectorTerms ?? [];
  const wanted = terms[0]?.matchFields?.[0]?.values;
  if (wanted !== undefined && !wanted.includes(node.metadata.name)) return false;
  return (node.spec?.taints ?? []).every((taint: { key: string; effect: string }) =>
    (pod.spec.tolerations ?? []).some(
      (t: { key: string; effect?: string }) =>
        t.key === taint.key && (t.effect === undefined || t.effect === taint.effect),
    ),
  );
}

/** Whether the node has room for the pod with this spec beside its other pods. */
export function room(store: Store, node: Stored, pod: Stored, spec: Stored["spec"]): boolean {
  const others = store
    .list("pods")
    .filter((other) => other.spec.nodeName === node.metadata.name)
    .filter((other) => other.metadata.uid !== pod.metadata.uid)
    .filter((other) => !["Succeeded", "Failed"].includes(other.status.phase));
  return Object.keys(node.status.allocatable).every((name) => {
    const asks = (of: Stored["spec"]): number =>
      of.containers.reduce(
        (sum: number, c: { resources?: { requests?: Record<string, string> } }) =>
          sum + quantity(c.resources?.requests?.[name]),
        0,
      );
    const used = others.reduce((sum, other) => sum + asks(other.spec), 0);
    return used + asks(spec) <= quantity(node.status.allocatable[name]) + 1e-9;
  });
}

/** Pods of a node that does not answer are deleted after their toleration; they stay until it comes back. */
function evict(store: Store, node: Stored): void {
  const taint = "node.kubernetes.io/unreachable";
  if (!(node.spec?.taints ?? []).some((t: { key: string }) => t.key === taint)) return;
  for (const pod of store.list("pods")) {
    if (pod.spec.nodeName !== node.metadata.name) continue;
    if (pod.metadata.deletionTimestamp !== undefined) continue;
    if (["Succeeded", "Failed"].includes(pod.status.phase)) continue;
    const seconds = (pod.spec.tolerations ?? []).find(
      (t: { key: string }) => t.key === taint,
    )?.tolerationSeconds;
    const since = Date.parse(node.status.lostAt ?? "");
    if (Date.now() < since + (seconds ?? 300) * 1000) continue;
    condition(pod.status.conditions, "DisruptionTarget", "True", "DeletionByTaintManager");
    const marked = store.update("pods", pod);
    store.delete("pods", marked, pod.spec.terminationGracePeriodSeconds ?? 30);
  }
}
