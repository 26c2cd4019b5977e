/** From Jobs, pods and nodes to what the runner's interface speaks of. Pure: objects in, observations out. */
import { constants } from "node:os";
import type { ServerState } from "../../contracts.ts";
import type { HeldSlice, Observed, Outcome, Phase } from "../runner.ts";
import { names, orderedNode } from "./manifest.ts";
import {
  type Amounts,
  isTrue,
  type Job,
  type Node,
  type Pod,
  type PodSpec,
  quantity,
  type Resources,
} from "./objects.ts";

/** A job with the object that stands for it now: of several, the one of the last attempt. */
export interface Known {
  readonly id: string;
  readonly job: Job;
  readonly attempt: number;
  /** Pods of this attempt. */
  readonly pods: readonly Pod[];
  readonly seen: Observed;
  /** Why the engine will never start the attempt; the runner ends it then. */
  readonly stuck: string | null;
}

/** The attempt that an object is for; 0 before the first. */
export function attemptOf({ metadata }: { readonly metadata: Job["metadata"] }): number {
  return Number(metadata.annotations?.[names.attempt] ?? 0);
}

/** All jobs of the cluster by id. */
export function knownJobs(
  jobs: readonly Job[],
  pods: readonly Pod[],
  gpuResource: string,
): ReadonlyMap<string, Known> {
  const last = new Map<string, Job>();
  for (const job of jobs) {
    const id = job.metadata.labels?.[names.job];
    if (id === undefined) continue;
    const before = last.get(id);
    if (before === undefined || attemptOf(job) > attemptOf(before)) last.set(id, job);
  }
  const byId = new Map<string, Pod[]>();
  for (const pod of pods) {
    const id = pod.metadata.labels?.[names.job] ?? "";
    const own = byId.get(id);
    if (own === undefined) byId.set(id, [pod]);
    else own.push(pod);
  }
  const known = new Map<string, Known>();
  for (const [id, job] of last) {
    const all = byId.get(id) ?? [];
    // Deleted, and nothing of it runs any more: gone.
    if (job.metadata.deletionTimestamp !== undefined && !all.some(isActive)) continue;
    known.set(id, knownJob(id, job, all, gpuResource));
  }
  return known;
}

function knownJob(id: string, job: Job, all: readonly Pod[], gpuResource: string): Known {
  const attempt = attemptOf(job);
  const pods = all.filter((pod) => pod.metadata.labels?.[names.attempt] === String(attempt));
  const active = pods.filter(isActive);
  const [pod] = active;
  const observed = (phase: Phase, outcome: Outcome | null = null): Observed => ({
    id,
    phase,
    attempt,
    held: phase === "held" || phase === "ended" ? [] : heldOf(job, active, gpuResource),
    outcome,
    cpuSeconds: null,
  });
  const of = (seen: Observed, stuck: string | null = null): Known => ({
    id,
    job,
    attempt,
    pods,
    seen,
    stuck,
  });
  const stopped = job.spec.suspend === true || job.metadata.deletionTimestamp !== undefined;
  // Pods of earlier attempts that are still ending hold what they hold; one that is not counted may yet end the Job.
  const uncounted = job.status?.uncountedTerminatedPods?.succeeded ?? [];
  if (stopped && (uncounted.length > 0 || all.some((one) => isActive(one) || isUncounted(one))))
    return of(observed("stopping"));
  if (attempt === 0) return of(observed("held"));
  const { conditions } = job.status ?? {};
  // Until the controller says so it may not have seen the suspension, and a pod may still come.
  if (stopped && !isTrue(conditions, "Suspended") && !isFinished(job))
    return of(observed("stopping"));
  if (stopped || isFinished(job)) return of(observed("ended", outcomeOf(job, pods)));
  if (pod === undefined)
    return of(pods.some(isLost) ? observed("ended", outcomeOf(job, pods)) : observed("starting"));
  if (pod.metadata.deletionTimestamp !== undefined) return of(observed("stopping"));
  const status = pod.status?.containerStatuses?.[0]?.state;
  if (status?.running !== undefined) return of(observed("running"));
  return of(observed("starting"), refusal(pod));
}

/** A Job that has ended never runs again, whatever becomes of its suspension. */
export function isFinished({ status }: Job): boolean {
  return isTrue(status?.conditions, "Complete") || isTrue(status?.conditions, "Failed");
}

/** Whether a pod may still run, and so holds what it was given. */
export function isActive(pod: Pod): boolean {
  const phase = pod.status?.phase;
  return phase !== "Succeeded" && phase !== "Failed" && !isLost(pod);
}

/** Whether the Job's controller has still to count how the pod ended. */
function isUncounted(pod: Pod): boolean {
  return !isLost(pod) && pod.metadata.finalizers?.includes(names.tracking) === true;
}

/** The mark of `withoutLost`. */
const lostReason = "MillraceNodeLost";

function isLost({ status }: Pod): boolean {
  return status?.reason === lostReason;
}

/**
 * Pods that Kubernetes has given up because their node is gone or does not answer, marked so: they stay "Running" until the
 * node comes back, and are deleted by it then.
 */
export function withoutLost(pods: readonly Pod[], nodes: readonly Node[]): readonly Pod[] {
  const ready = new Set(
    nodes.flatMap(({ metadata, status }) =>
      isTrue(status?.conditions, "Ready") ? [metadata.name] : [],
    ),
  );
  return pods.map((pod) => {
    const { nodeName } = pod.spec;
    const lost =
      pod.metadata.deletionTimestamp !== undefined &&
      nodeName !== undefined &&
      !ready.has(nodeName);
    return lost ? { ...pod, status: { ...pod.status, reason: lostReason } } : pod;
  });
}

/** These do not pass by waiting. */
const hopeless = new Set([
  "ErrImageNeverPull",
  "InvalidImageName",
  "ErrImagePull",
  "ImagePullBackOff",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
]);

function refusal({ status }: Pod): string | null {
  const waiting = status?.containerStatuses?.[0]?.state?.waiting;
  if (waiting?.reason === undefined || !hopeless.has(waiting.reason)) return null;
  return `${waiting.reason}${waiting.message ? `: ${waiting.message}` : ""}`;
}

function outcomeOf(job: Job, pods: readonly Pod[]): Outcome {
  const refused = job.metadata.annotations?.[names.refused];
  if (refused !== undefined) return { kind: "not-started", reason: refused };
  // Its pods are deleted, and with them how they ended; that they were asked to is known.
  if (job.spec.suspend === true && !isTrue(job.status?.conditions, "Complete"))
    return { kind: "killed", signal: "SIGTERM" };
  for (const pod of pods) {
    const { status } = pod;
    if (isLost(pod)) return { kind: "lost", reason: `node ${pod.spec.nodeName} does not answer` };
    const end = status?.containerStatuses?.[0]?.state?.terminated;
    // Ended by the system: what its program said last is not its outcome.
    const disrupted = status?.conditions?.find(
      (c) => c.type === "DisruptionTarget" && c.status === "True",
    );
    if (disrupted !== undefined)
      return { kind: "lost", reason: disrupted.message ?? disrupted.reason ?? "disrupted" };
    if (end === undefined) {
      if (status?.phase === "Failed")
        return { kind: "lost", reason: status.message ?? status.reason ?? "the pod failed" };
      continue;
    }
    if (/StartError|ContainerCannotRun/.test(end.reason ?? ""))
      return { kind: "not-started", reason: end.message ?? end.reason ?? "it could not start" };
    const signal = end.exitCode > 128 ? signalOf(end.exitCode - 128) : null;
    return signal === null
      ? { kind: "exited", code: end.exitCode }
      : { kind: "killed", signal: end.reason === "OOMKilled" ? "SIGKILL" : signal };
  }
  return isTrue(job.status?.conditions, "Complete")
    ? { kind: "exited", code: 0 }
    : { kind: "lost", reason: "its pod is gone" };
}

function signalOf(number: number): string | null {
  for (const [name, value] of Object.entries(constants.signals)) if (value === number) return name;
  return null;
}

/** What the pods hold; before there are any, what the Job orders. */
function heldOf(job: Job, active: readonly Pod[], gpuResource: string): readonly HeldSlice[] {
  const slice = (server: string | null, resources: Resources | undefined): HeldSlice[] => {
    const amounts = { ...resources?.requests, ...resources?.limits };
    if (server === null) return [];
    return [
      {
        server,
        gpus: quantity(amounts[gpuResource]),
        cpus: quantity(amounts.cpu),
        hostBytes: quantity(amounts.memory),
      },
    ];
  };
  const { template } = job.spec;
  if (active.length === 0)
    return slice(orderedNode(template), template.spec.containers[0]?.resources);
  return active.flatMap(({ spec, status }) => {
    const asked = spec.containers[0]?.resources;
    // What is in force, not what a resize asks for; before the start only the request is there.
    const inForce = status?.containerStatuses?.[0]?.resources;
    const limits = { ...asked?.limits, ...inForce?.limits };
    return slice(spec.nodeName ?? orderedNode({ spec }), { limits });
  });
}

/** Nodes with GPUs as servers, less what pods of others ask for. By name. */
export function serversOf(
  nodes: readonly Node[],
  pods: readonly Pod[],
  cluster: string,
  gpuResource: string,
  tolerated: readonly string[],
): readonly ServerState[] {
  const taken = new Map<string, { gpus: number; cpus: number; hostBytes: number }>();
  for (const { metadata, spec, status } of pods) {
    const node = spec.nodeName;
    if (node === undefined || !isActive({ metadata, spec, ...(status && { status }) })) continue;
    if (metadata.labels?.[names.cluster] === cluster) continue;
    const sum = taken.get(node) ?? { gpus: 0, cpus: 0, hostBytes: 0 };
    sum.gpus += requestOf(spec, gpuResource);
    sum.cpus += requestOf(spec, "cpu");
    sum.hostBytes += requestOf(spec, "memory");
    taken.set(node, sum);
  }
  return nodes
    .filter(({ status }) => quantity(status?.allocatable?.[gpuResource]) > 0)
    .map((node): ServerState => {
      const { allocatable } = node.status ?? {};
      const less = taken.get(node.metadata.name);
      const rest = (name: string, used: number | undefined) =>
        Math.max(0, quantity(allocatable?.[name]) - (used ?? 0));
      return {
        name: node.metadata.name,
        gpus: Math.floor(rest(gpuResource, less?.gpus)),
        cpus: rest("cpu", less?.cpus),
        hostBytes: rest("memory", less?.hostBytes),
        condition: conditionOf(node, tolerated),
        numa: [],
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function conditionOf(
  { spec, status }: Node,
  tolerated: readonly string[],
): ServerState["condition"] {
  if (!isTrue(status?.conditions, "Ready")) return "down";
  const closed = spec?.taints?.some(
    ({ key, effect }) => effect !== "PreferNoSchedule" && !tolerated.includes(key),
  );
  return spec?.unschedulable === true || closed === true ? "draining" : "up";
}

/** What the scheduler of Kubernetes counts for a pod. */
function requestOf({ containers, initContainers = [], overhead }: PodSpec, name: string): number {
  const of = ({ resources }: { readonly resources?: Resources }): number =>
    quantity((resources?.requests as Amounts | undefined)?.[name] ?? resources?.limits?.[name]);
  const sidecars = initContainers.filter((c) => c.restartPolicy === "Always");
  const sum = [...containers, ...sidecars].reduce((total, container) => total + of(container), 0);
  const first = Math.max(0, ...initContainers.map(of));
  return Math.max(sum, first) + quantity(overhead?.[name]);
}
