/** From cAdvisor's, kube-state-metrics' and DCGM's metrics to what jobs requested and used: pods of one owner are one job. */
import { MillraceError, quantileSorted } from "@millrace/core";
import { parseSeries, type Series } from "./series.ts";
import type { JobUse, UseReport } from "./use.ts";

/** The metrics that are read. */
export const prometheusMetrics = [
  "container_cpu_usage_seconds_total",
  "container_cpu_cfs_periods_total",
  "container_cpu_cfs_throttled_periods_total",
  "container_memory_working_set_bytes",
  "container_oom_events_total",
  "container_start_time_seconds",
  "kube_pod_container_resource_requests",
  "kube_pod_container_resource_limits",
  "kube_pod_owner",
  "kube_pod_start_time",
  "DCGM_FI_DEV_GPU_UTIL",
] as const;

/** The query whose answer is read; `[6h]` gives the course over six hours. */
export const prometheusQuery = `{__name__=~"${prometheusMetrics.join("|")}"}[6h]`;

/** Reads an export. Throws JOBS_INVALID when it holds no pod with CPU times and requests. */
export function parsePrometheus(text: string, file: string): UseReport {
  const { series, skipped } = parseSeries(text, file);
  const pods = podsOf(series);
  const jobs = new Map<string, Pod[]>();
  for (const pod of pods.values()) {
    if (pod.cpu.length === 0) continue;
    const key = `${pod.namespace}/${pod.job}`;
    const peers = jobs.get(key);
    if (peers === undefined) jobs.set(key, [pod]);
    else peers.push(pod);
  }
  if (jobs.size === 0)
    throw new MillraceError("JOBS_INVALID", `${file} has no CPU times of containers in pods`, {
      at: { file },
      hint: `it needs container_cpu_usage_seconds_total with labels namespace, pod and container; query ${prometheusQuery}`,
    });
  return { source: "prometheus", jobs: [...jobs].map(([id, of]) => jobOf(id, of)), skipped };
}

/** A pod's series by what they say. */
interface Pod {
  readonly namespace: string;
  readonly name: string;
  /** Its owner, or the pod itself. */
  job: string;
  readonly cpu: Series[];
  readonly periods: Series[];
  readonly throttled: Series[];
  readonly memory: Series[];
  readonly outOfMemory: Series[];
  readonly gpuBusy: Series[];
  readonly requests: Map<string, number>;
  readonly limits: Map<string, number>;
  /** Containers with a CPU limit: only if all have one the pod has one. */
  readonly limited: Set<string>;
  readonly containers: Set<string>;
  startedAt: number | null;
}

function podsOf(all: readonly Series[]): ReadonlyMap<string, Pod> {
  const pods = new Map<string, Pod>();
  for (const series of all) {
    const { labels } = series;
    // Exporters without honor_labels have the pod of the exporter under the plain name.
    const name = labels.get("exported_pod") ?? labels.get("pod") ?? "";
    const namespace = labels.get("exported_namespace") ?? labels.get("namespace") ?? "";
    if (name === "") continue;
    const key = `${namespace}/${name}`;
    let pod = pods.get(key);
    if (pod === undefined) {
      pod = newPod(namespace, name);
      pods.set(key, pod);
    }
    addSeries(pod, series);
  }
  return pods;
}

function newPod(namespace: string, name: string): Pod {
  return {
    namespace,
    name,
    job: name,
    cpu: [],
    periods: [],
    throttled: [],
    memory: [],
    outOfMemory: [],
    gpuBusy: [],
    requests: new Map(),
    limits: new Map(),
    limited: new Set(),
    containers: new Set(),
    startedAt: null,
  };
}

function addSeries(pod: Pod, series: Series): void {
  const { name, labels, values } = series;
  const container = labels.get("exported_container") ?? labels.get("container") ?? "";
  const last = values.at(-1) ?? 0;
  switch (name) {
    case "kube_pod_owner": {
      const owner = labels.get("owner_name") ?? "";
      if (owner !== "" && owner !== "<none>") pod.job = owner;
      return;
    }
    case "kube_pod_start_time":
      pod.startedAt = last;
      return;
    case "DCGM_FI_DEV_GPU_UTIL":
      pod.gpuBusy.push(series);
      return;
  }
  // The sums over a pod and the pause container would count everything twice.
  if (container === "" || container === "POD") return;
  switch (name) {
    case "container_cpu_usage_seconds_total":
      pod.cpu.push(series);
      pod.containers.add(container);
      return;
    case "container_cpu_cfs_periods_total":
      pod.periods.push(series);
      return;
    case "container_cpu_cfs_throttled_periods_total":
      pod.throttled.push(series);
      return;
    case "container_memory_working_set_bytes":
      pod.memory.push(series);
      return;
    case "container_oom_events_total":
      pod.outOfMemory.push(series);
      return;
    case "container_start_time_seconds":
      pod.startedAt ??= last;
      return;
    case "kube_pod_container_resource_requests":
    case "kube_pod_container_resource_limits": {
      const limits = name.endsWith("limits");
      const resource = (labels.get("resource") ?? "").replaceAll(/[./-]/g, "_");
      const of = limits ? pod.limits : pod.requests;
      of.set(resource, (of.get(resource) ?? 0) + last);
      if (limits && resource === "cpu") pod.limited.add(container);
    }
  }
}

/** Pods of one owner together. */
function jobOf(id: string, pods: readonly Pod[]): JobUse {
  const first = pods[0] as Pod;
  const sum = (of: (pod: Pod) => number | null): number | null => {
    let total: number | null = null;
    for (const pod of pods) {
      const value = of(pod);
      if (value !== null) total = (total ?? 0) + value;
    }
    return total;
  };
  const begins = pods.map((pod) => pod.startedAt ?? earliest(pod)).filter(Number.isFinite);
  const ends = pods.flatMap((pod) => pod.cpu.map(({ times }) => times.at(-1) ?? 0));
  const busy = pods.flatMap((pod) => pod.gpuBusy.map(({ values }) => meanOf(values) / 100));
  const cpuLimit = pods.every((pod) => pod.limited.size >= pod.containers.size)
    ? sum((pod) => pod.limits.get("cpu") ?? null)
    : null;
  const peak = sum(peakBytes);
  return {
    id,
    name: stem(first.job),
    owner: first.namespace,
    gpus: sum(gpusOf) ?? 0,
    running: true,
    submittedAt: null,
    seconds: Math.max(0, Math.max(...ends) - Math.min(...begins)),
    cpus: {
      held: sum((pod) => pod.requests.get("cpu") ?? pod.limits.get("cpu") ?? null),
      limit: cpuLimit,
      mean: sum((pod) => meanRate(pod)),
      high: sum((pod) => highRate(pod.cpu)),
      throttled: throttledPart(pods),
    },
    memory: {
      heldBytes: sum((pod) => pod.requests.get("memory") ?? pod.limits.get("memory") ?? null),
      peakBytes: peak === 0 ? null : peak,
      exhausted: pods.some((pod) => pod.outOfMemory.some(({ values }) => (values.at(-1) ?? 0) > 0)),
    },
    gpuBusy: busy.length === 0 ? null : Math.min(1, meanOf(busy)),
  };
}

/** GPUs by any vendor's resource name. */
function gpusOf({ requests, limits }: Pod): number {
  let gpus = 0;
  for (const [resource, count] of new Map([...limits, ...requests]))
    if (/(^|_)gpu(_|$)|^nvidia_com_mig/.test(resource)) gpus += count;
  return gpus;
}

function earliest({ cpu }: Pod): number {
  return Math.min(...cpu.map(({ times }) => times[0] ?? Number.POSITIVE_INFINITY));
}

/** Increase of a counter, restarts taken as beginning from 0. */
function increase({ values }: Series): number {
  let total = 0;
  for (let i = 1; i < values.length; i++) {
    const [before, now] = [values[i - 1] as number, values[i] as number];
    total += now >= before ? now - before : now;
  }
  return total;
}

/** Its increase; of a single sample, all it counted since the container started. */
function counted(series: Series): number {
  return series.values.length > 1 ? increase(series) : (series.values[0] ?? 0);
}

/** Mean cores over the samples; a single sample counts from the start of the pod. */
function meanRate({ cpu, startedAt }: Pod): number | null {
  let rate: number | null = null;
  for (const series of cpu) {
    const { times, values } = series;
    const [from, to] = [times[0] ?? 0, times.at(-1) ?? 0];
    if (to > from) rate = (rate ?? 0) + increase(series) / (to - from);
    else if (startedAt !== null && to > startedAt)
      rate = (rate ?? 0) + (values[0] as number) / (to - startedAt);
  }
  return rate;
}

/** 95th percentile of the rates between samples, summed over containers; null with fewer than 10 of them. */
function highRate(cpu: readonly Series[]): number | null {
  let total: number | null = null;
  for (const { times, values } of cpu) {
    const rates: number[] = [];
    for (let i = 1; i < values.length; i++) {
      const seconds = (times[i] as number) - (times[i - 1] as number);
      const [before, now] = [values[i - 1] as number, values[i] as number];
      if (seconds > 0) rates.push((now >= before ? now - before : now) / seconds);
    }
    if (rates.length < 10) continue;
    total =
      (total ?? 0) +
      quantileSorted(
        rates.sort((a, b) => a - b),
        0.95,
      );
  }
  return total;
}

function throttledPart(pods: readonly Pod[]): number | null {
  let periods = 0;
  let stopped = 0;
  for (const pod of pods) {
    for (const series of pod.periods) periods += counted(series);
    for (const series of pod.throttled) stopped += counted(series);
  }
  return periods > 0 ? Math.min(1, stopped / periods) : null;
}

function peakBytes({ memory }: Pod): number | null {
  if (memory.length === 0) return null;
  return memory.reduce((sum, { values }) => sum + values.reduce((a, b) => Math.max(a, b), 0), 0);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The name without what controllers append: their random letters (which hold no vowels) and numbers of repeated jobs. */
function stem(name: string): string {
  const random = "[bcdfghjklmnpqrstvwxz2456789]";
  return name.replace(new RegExp(`(?:-(?:[0-9]+|${random}{5}|${random}{8,10}))+$`), "") || name;
}
