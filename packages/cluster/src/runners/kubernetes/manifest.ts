/** What a job is in Kubernetes: a suspended Job of one pod, and the changes that start and stop it. */
import type { GrantedSlice, RunnerJob } from "../runner.ts";
import type { PatchOperation } from "./api.ts";
import type { Amounts, Container, Job, PodSpec, PodTemplate } from "./objects.ts";

/** Names on objects. */
export const names = {
  cluster: "millrace.dev/cluster",
  job: "millrace.dev/job",
  attempt: "millrace.dev/attempt",
  fence: "millrace.dev/fence",
  /** Why the engine would not start the attempt. */
  refused: "millrace.dev/refused",
  /** The finalizer of Kubernetes on pods whose end is not yet counted in their Job. */
  tracking: "batch.kubernetes.io/job-tracking",
} as const;

/** More failures than a Job ever has: pods that a suspension deletes count as failed. */
export const anyFailures = 2 ** 31 - 1;

/** What the runner adds to all its pods. */
export interface PodTerms {
  readonly gpuResource: string;
  /** The user's own template: volumes, service account, tolerations; its first container is the job's. */
  readonly template: {
    readonly metadata?: PodTemplate["metadata"];
    readonly spec?: Partial<PodSpec>;
  };
  /** Seconds after which pods of an unreachable node are given up. */
  readonly lostSeconds: number;
}

/** The Job object, suspended; without resources, which come with the start. */
export function jobManifest(
  job: RunnerJob,
  cluster: string,
  fence: number,
  { template, lostSeconds }: PodTerms,
): object {
  const labels = { [names.cluster]: cluster, [names.job]: job.id };
  const {
    containers = [],
    tolerations,
    securityContext,
    ...pod
  } = (template.spec ?? {}) as Partial<PodSpec>;
  const [own, ...others] = containers as readonly Container[];
  const environment = Object.entries(job.environment).map(([name, value]) => ({ name, value }));
  const main = {
    ...own,
    name: own?.name ?? "main",
    image: job.image ?? own?.image,
    command: job.argv,
    workingDir: job.directory,
    env: [
      ...((own?.env as readonly object[] | undefined) ?? []),
      ...grantVariables,
      ...environment,
    ],
    // Cores and memory may change while it runs.
    resizePolicy: [
      { resourceName: "cpu", restartPolicy: "NotRequired" },
      { resourceName: "memory", restartPolicy: "NotRequired" },
    ],
  };
  const user =
    job.user === null
      ? {}
      : { runAsUser: job.user.uid, runAsGroup: job.user.gid, runAsNonRoot: job.user.uid !== 0 };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: job.id,
      labels: { "app.kubernetes.io/managed-by": "millrace", ...labels },
      annotations: { [names.fence]: String(fence), [names.attempt]: "0" },
    },
    spec: {
      suspend: true,
      // Attempts are the scheduler's: a pod that fails is not replaced.
      backoffLimit: anyFailures,
      completions: 1,
      parallelism: 1,
      template: {
        metadata: {
          labels: { ...template.metadata?.labels, ...labels, [names.attempt]: "0" },
          annotations: { ...template.metadata?.annotations },
        },
        spec: {
          ...pod,
          restartPolicy: "Never",
          terminationGracePeriodSeconds: Math.ceil(job.graceSeconds),
          securityContext: { ...(securityContext as object | undefined), ...user },
          tolerations: [
            ...((tolerations as readonly object[] | undefined) ?? []),
            ...["not-ready", "unreachable"].map((what) => ({
              key: `node.kubernetes.io/${what}`,
              operator: "Exists",
              effect: "NoExecute",
              tolerationSeconds: lostSeconds,
            })),
          ],
          containers: [main, ...others],
        },
      },
    },
  };
}

/** What the job was granted, for its program to read. */
const grantVariables = [
  {
    name: "MILLRACE_ATTEMPT",
    valueFrom: { fieldRef: { fieldPath: `metadata.labels['${names.attempt}']` } },
  },
  ...["MILLRACE_CPUS", "OMP_NUM_THREADS"].map((name) => ({
    name,
    valueFrom: { resourceFieldRef: { resource: "limits.cpu" } },
  })),
] as const;

/** Cores in thousandths, memory in bytes; GPUs only where there are some. */
export function amountsOf(
  { cpus, hostBytes }: GrantedSlice,
  gpus: number,
  gpuResource: string,
): Amounts {
  return {
    cpu: `${Math.round(cpus * 1000)}m`,
    memory: String(Math.round(hostBytes)),
    ...(gpus > 0 && { [gpuResource]: String(gpus) }),
  };
}

/** Path of an annotation or label in a JSON patch. */
const key = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** The resources and the node of an attempt, and the Job's release, in one change. */
export function startOperations(
  job: Job,
  attempt: number,
  slice: GrantedSlice,
  terms: PodTerms,
): readonly PatchOperation[] {
  const pod = "/spec/template/spec";
  const amounts = amountsOf(slice, slice.gpus.length, terms.gpuResource);
  return [
    ...unchanged(job),
    annotate(names.attempt, String(attempt)),
    { op: "add", path: "/spec/backoffLimit", value: job.status?.failed ?? 0 },
    {
      op: "add",
      path: `/spec/template/metadata/labels/${key(names.attempt)}`,
      value: String(attempt),
    },
    {
      op: "add",
      path: `${pod}/containers/0/resources`,
      value: { requests: amounts, limits: amounts },
    },
    { op: "add", path: `${pod}/affinity`, value: onNode(job, slice.server) },
    { op: "add", path: "/spec/suspend", value: false },
  ];
}

/** Deletes the pods with their grace; what that counts as failed must not fail the Job. */
export function stopOperations(job: Job): readonly PatchOperation[] {
  return [
    ...unchanged(job),
    { op: "add", path: "/spec/suspend", value: true },
    { op: "add", path: "/spec/backoffLimit", value: anyFailures },
  ];
}

/** The change fails with a conflict when the object is not as it was read. */
export function unchanged({ metadata }: { readonly metadata: Job["metadata"] }): PatchOperation[] {
  return [{ op: "replace", path: "/metadata/resourceVersion", value: metadata.resourceVersion }];
}

export function annotate(name: string, value: string): PatchOperation {
  return { op: "add", path: `/metadata/annotations/${key(name)}`, value };
}

/** By the node's name, as DaemonSets do: the label of the host name may differ. */
function onNode(job: Job, node: string): object {
  const given = job.spec.template.spec.affinity ?? {};
  return {
    ...given,
    nodeAffinity: {
      ...given.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          { matchFields: [{ key: "metadata.name", operator: "In", values: [node] }] },
        ],
      },
    },
  };
}

/** The node that the attempt was ordered to. */
export function orderedNode(template: PodTemplate): string | null {
  const terms =
    template.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
      ?.nodeSelectorTerms;
  return terms?.[0]?.matchFields?.[0]?.values?.[0] ?? null;
}

/** A Job of its own for an attempt, where the first one has ended or may not be changed (before Kubernetes 1.36). */
export function nextJob(
  job: Job,
  id: string,
  attempt: number,
  fence: number,
  slice: GrantedSlice,
  terms: PodTerms,
): object {
  const { template } = job.spec;
  const amounts = amountsOf(slice, slice.gpus.length, terms.gpuResource);
  const labels = Object.fromEntries(
    // The server adds its own, which are of the other Job.
    Object.entries(template.metadata?.labels ?? {}).filter(
      ([name]) => !/(^|\/)(controller-uid|job-name)$/.test(name),
    ),
  );
  const [main, ...others] = template.spec.containers;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: `${id}-a${attempt}`,
      labels: job.metadata.labels,
      annotations: { [names.fence]: String(fence), [names.attempt]: String(attempt) },
    },
    spec: {
      suspend: false,
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      template: {
        metadata: {
          labels: { ...labels, [names.attempt]: String(attempt) },
          annotations: template.metadata?.annotations ?? {},
        },
        spec: {
          ...template.spec,
          affinity: onNode(job, slice.server),
          containers: [{ ...main, resources: { requests: amounts, limits: amounts } }, ...others],
        },
      },
    },
  };
}
