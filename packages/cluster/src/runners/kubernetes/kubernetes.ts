/**
 * Jobs on Kubernetes: suspended Jobs whose template gets resources and a node when the plan says so, then released;
 * stopped by suspending them. The scheduler and the kubelets of Kubernetes keep their roles, so nothing is booked twice.
 * Running pods change size in place where the cluster can. One pod per job; jobs over several nodes are not offered.
 * Orders are compare-and-swap on the Job (fence.ts).
 */
import { setTimeout as delay } from "node:timers/promises";
import { InvariantError, MillraceError } from "@millrace/core";
import type { ServerState } from "../../contracts.ts";
import type { EngineTerms } from "../engine.ts";
import type { Observed, Resized, Runner, RunnerJob, StartOrder } from "../runner.ts";
import { ApiError, type ApiTimes, apiTimes, KubeApi } from "./api.ts";
import type { Connection } from "./connection.ts";
import { isConflict, KubeFence, mostConflicts } from "./fence.ts";
import {
  amountsOf,
  annotate,
  jobManifest,
  names,
  nextJob,
  type PodTerms,
  startOperations,
  stopOperations,
  unchanged,
} from "./manifest.ts";
import { type Job, type Node, type Pod, quantity } from "./objects.ts";
import { isFinished, type Known, knownJobs, serversOf, withoutLost } from "./observe.ts";
import { Watcher } from "./watcher.ts";

/** Where jobs go and what their pods are like. */
export interface KubernetesOptions {
  /** Tells this scheduler's jobs from those of others; a DNS label. */
  readonly cluster: string;
  readonly namespace: string;
  /** Resource name of GPUs. */
  readonly gpuResource: string;
  /** Base of all pods: volumes, service account, pull secrets; its first container is the job's. */
  readonly podTemplate: PodTerms["template"];
  /** Taints that the pods tolerate beside those in podTemplate's tolerations, by key. */
  readonly toleratedTaints: readonly string[];
  readonly lostSeconds: number;
  readonly times: ApiTimes;
}

export const kubernetesOptions: KubernetesOptions = {
  cluster: "default",
  namespace: "default",
  gpuResource: "nvidia.com/gpu",
  podTemplate: {},
  toleratedTaints: ["nvidia.com/gpu"],
  lostSeconds: 30,
  times: apiTimes,
};

/** The runner; `connection` stays open until it is disposed of. */
export class KubernetesRunner implements Runner {
  readonly name = "kubernetes";
  readonly spans = false;
  readonly engine: EngineTerms;
  private canResize = true;
  private readonly options: KubernetesOptions;
  private readonly api: KubeApi;
  private readonly terms: PodTerms;
  private readonly jobsPath: string;
  private readonly podsPath: string;
  private readonly fence: KubeFence;
  private readonly own: Readonly<Record<string, string>>;
  private watcher: Watcher | null = null;

  constructor(connection: Connection, options: KubernetesOptions) {
    const { cluster, namespace, toleratedTaints, podTemplate } = options;
    this.options = options;
    const { server } = connection;
    const { lostSeconds } = options;
    this.engine = { on: "kubernetes", cluster, namespace, server, lostSeconds };
    this.api = new KubeApi(connection, options.times);
    this.jobsPath = `/apis/batch/v1/namespaces/${namespace}/jobs`;
    this.podsPath = `/api/v1/namespaces/${namespace}/pods`;
    this.fence = new KubeFence(this.api, namespace, cluster);
    this.own = { labelSelector: `${names.cluster}=${cluster}` };
    const tolerations = [
      ...((podTemplate.spec?.tolerations as readonly object[] | undefined) ?? []),
      ...toleratedTaints.map((key) => ({ key, operator: "Exists" })),
    ];
    this.terms = {
      gpuResource: options.gpuResource,
      template: { ...podTemplate, spec: { ...podTemplate.spec, tolerations } as never },
      lostSeconds: options.lostSeconds,
    };
  }

  get resizes(): boolean {
    return this.canResize;
  }

  async takeOver(fence: number, signal?: AbortSignal): Promise<void> {
    await this.ordered("taking over", async () => {
      await this.fence.raise(fence, signal);
      const core = await this.api.get<{
        readonly resources?: readonly { readonly name: string }[];
      }>("/api/v1", signal);
      this.canResize = core.resources?.some(({ name }) => name === "pods/resize") ?? false;
      const { items } = await this.api.list<Job>(this.jobsPath, this.own, signal);
      for (const { metadata } of items)
        await this.change(metadata.name, signal, (job) =>
          this.fence.of(job) === fence ? null : [...unchanged(job), this.fence.stamp()],
        );
    });
    this.watcher ??= new Watcher(this.api, [
      { path: this.jobsPath, query: this.own },
      { path: this.podsPath, query: this.own },
      { path: "/api/v1/nodes", query: {} },
    ]);
  }

  async servers(signal?: AbortSignal): Promise<readonly ServerState[]> {
    return await this.ordered("listing nodes", async () => {
      const [nodes, pods] = await Promise.all([
        this.api.list<Node>("/api/v1/nodes", {}, signal),
        this.api.list<Pod>(
          "/api/v1/pods",
          { fieldSelector: "status.phase!=Succeeded,status.phase!=Failed" },
          signal,
        ),
      ]);
      const { cluster, gpuResource, toleratedTaints, podTemplate } = this.options;
      const given = (podTemplate.spec?.tolerations ?? []) as readonly { readonly key?: string }[];
      const tolerated = [...toleratedTaints, ...given.flatMap(({ key }) => key ?? [])];
      return serversOf(nodes.items, pods.items, cluster, gpuResource, tolerated);
    });
  }

  async observe(signal?: AbortSignal): Promise<readonly Observed[]> {
    return await this.ordered("observing", async () => {
      this.watcher?.seen();
      const known = await this.all(signal);
      for (const { id, attempt, stuck } of known.values())
        if (stuck !== null) await this.giveUp(id, attempt, stuck, signal);
      return [...known.values()].map(({ seen, stuck }) =>
        stuck === null ? seen : { ...seen, phase: "stopping" as const },
      );
    });
  }

  async submit(job: RunnerJob, signal?: AbortSignal): Promise<void> {
    if (job.image === null && this.options.podTemplate.spec?.containers?.[0]?.image === undefined)
      throw new MillraceError("RUNNER_FAILED", `job ${job.id} names no container image`, {
        hint: "give the job an image, or the pod template one for all jobs",
      });
    await this.ordered(`submitting job ${job.id}`, async () => {
      await this.fence.stillInCharge(signal);
      if ((await this.all(signal, job.id)).has(job.id)) return;
      const { cluster } = this.options;
      const manifest = jobManifest(job, cluster, this.fence.own, this.terms);
      try {
        await this.api.create(this.jobsPath, manifest, signal);
      } catch (error) {
        if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
        // A retry of our own that had arrived; a stranger's Job of that name is no job of ours.
        if (!(await this.all(signal, job.id)).has(job.id)) throw error;
      }
    });
  }

  async start(order: StartOrder, signal?: AbortSignal): Promise<void> {
    const [slice, ...more] = order.slices;
    if (slice === undefined || more.length > 0)
      throw new InvariantError(`job ${order.id} is ordered to ${order.slices.length} nodes`);
    await this.ordered(`starting job ${order.id}`, async () => {
      await this.fence.stillInCharge(signal);
      for (let conflicts = 0; ; conflicts++) {
        const known = await this.known(order.id, signal);
        if (known.attempt >= order.attempt) return;
        const { phase } = known.seen;
        if (phase !== "held" && phase !== "ended")
          throw new MillraceError(
            "RUNNER_FAILED",
            `job ${order.id} is ${phase} in attempt ${known.attempt}, so attempt ${order.attempt} cannot start`,
          );
        try {
          if (await this.release(known, order, signal)) return;
        } catch (error) {
          if (!isConflict(error) || conflicts === mostConflicts) throw error;
        }
      }
    });
  }

  /** Releases the Job, or makes one for the attempt where this one cannot run again. False: look again. */
  private async release(known: Known, order: StartOrder, signal?: AbortSignal): Promise<boolean> {
    const slice = order.slices[0] as StartOrder["slices"][0];
    const path = `${this.jobsPath}/${known.job.metadata.name}`;
    this.fence.check(known.job);
    if (known.job.spec.suspend === true && !isFinished(known.job)) {
      let { job } = known;
      // The template may be changed only while the Job has no start time; it keeps that of its last run.
      if (job.status?.startTime) {
        const { resourceVersion } = job.metadata;
        job = await this.api.merge<Job>(
          `${path}/status`,
          { metadata: { resourceVersion }, status: { startTime: null } },
          signal,
        );
      }
      try {
        const operations = startOperations(job, order.attempt, slice, this.terms);
        await this.api.patch(path, [...operations, this.fence.stamp()], signal);
        return true;
      } catch (error) {
        // Before Kubernetes 1.36 resources of a Job are fixed for good.
        if (!(error instanceof ApiError && error.status === 422 && /immutable/.test(error.message)))
          throw error;
      }
    }
    const next = nextJob(known.job, order.id, order.attempt, this.fence.own, slice, this.terms);
    try {
      await this.api.create(this.jobsPath, next, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
    }
    // The first Job of a job stays: it holds the template that new ones are made from, and the job's name.
    if (known.job.metadata.name !== order.id) await this.api.remove(path, signal);
    return true;
  }

  async resize(order: StartOrder, signal?: AbortSignal): Promise<Resized> {
    return await this.ordered(`resizing job ${order.id}`, async () => {
      await this.fence.stillInCharge(signal);
      const { attempt, pods, seen, job } = await this.known(order.id, signal);
      const pod = pods[0];
      const slice = order.slices[0];
      if (!this.canResize || attempt !== order.attempt || seen.phase !== "running")
        return "refused";
      if (pod === undefined || slice === undefined) return "refused";
      this.fence.check(job);
      const path = `${this.podsPath}/${pod.metadata.name}`;
      const gpus = quantity(pod.spec.containers[0]?.resources?.limits?.[this.terms.gpuResource]);
      const amounts = amountsOf(slice, gpus, this.terms.gpuResource);
      const resources = { requests: amounts, limits: amounts };
      const put = (value: object) =>
        this.api.patch<Pod>(
          `${path}/resize`,
          [{ op: "add", path: "/spec/containers/0/resources", value }],
          signal,
        );
      try {
        await put(resources);
      } catch (error) {
        // Not there, not allowed, or not for this pod (static CPU sets, quotas): a restart can still do it.
        if (error instanceof ApiError && [400, 403, 404, 405, 422].includes(error.status))
          return "refused";
        throw error;
      }
      for (let looks = 0; looks < 5; looks++) {
        const now = await this.api.get<Pod>(path, signal);
        const enacted = now.status?.containerStatuses?.[0]?.resources?.limits;
        const cpus = quantity(enacted?.cpu);
        if (Math.abs(cpus - slice.cpus) < 1e-3 && enacted?.memory === amounts.memory) return "done";
        const pending = now.status?.conditions?.find((c) => c.type === "PodResizePending");
        if (pending?.reason === "Infeasible") {
          await put(pod.spec.containers[0]?.resources ?? {});
          return "refused";
        }
        if (pending !== undefined) return "later";
        await delay(
          this.options.times.backoffMs,
          undefined,
          signal === undefined ? {} : { signal },
        );
      }
      return "later";
    });
  }

  async stop(id: string, attempt: number, signal?: AbortSignal): Promise<void> {
    await this.ordered(`stopping job ${id}`, async () => {
      await this.fence.stillInCharge(signal);
      await this.suspend(id, attempt, [], signal);
    });
  }

  async remove(id: string, signal?: AbortSignal): Promise<void> {
    await this.ordered(`removing job ${id}`, async () => {
      await this.fence.stillInCharge(signal);
      const query = { labelSelector: `${this.own.labelSelector},${names.job}=${id}` };
      const { items } = await this.api.list<Job>(this.jobsPath, query, signal);
      for (const job of items) {
        this.fence.check(job);
        await this.api.remove(`${this.jobsPath}/${job.metadata.name}`, signal);
      }
    });
  }

  changed(signal: AbortSignal): Promise<void> {
    return this.watcher?.changed(signal) ?? Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watcher?.[Symbol.dispose]();
  }

  /** Ends an attempt that the engine cannot start, and keeps why. */
  private async giveUp(
    id: string,
    attempt: number,
    reason: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.suspend(id, attempt, [annotate(names.refused, reason.slice(0, 500))], signal);
  }

  private async suspend(
    id: string,
    attempt: number,
    more: readonly ReturnType<typeof annotate>[],
    signal?: AbortSignal,
  ): Promise<void> {
    const known = (await this.all(signal, id)).get(id);
    if (known === undefined || known.attempt !== attempt || known.seen.phase === "ended") return;
    await this.change(known.job.metadata.name, signal, (job) =>
      job.spec.suspend === true ? null : [...stopOperations(job), this.fence.stamp(), ...more],
    );
  }

  /** Changes a Job as it is now, again where somebody else was faster. */
  private async change(
    name: string,
    signal: AbortSignal | undefined,
    operations: (job: Job) => Parameters<KubeApi["patch"]>[1] | null,
  ): Promise<void> {
    const path = `${this.jobsPath}/${name}`;
    for (let conflicts = 0; ; conflicts++) {
      try {
        const job = await this.api.get<Job>(path, signal);
        this.fence.check(job);
        const wanted = operations(job);
        if (wanted !== null) await this.api.patch(path, wanted, signal);
        return;
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return;
        if (!isConflict(error) || conflicts === mostConflicts) throw error;
      }
    }
  }

  private async known(id: string, signal?: AbortSignal): Promise<Known> {
    const known = (await this.all(signal, id)).get(id);
    if (known !== undefined) return known;
    throw new MillraceError("RUNNER_FAILED", `Kubernetes knows no job ${id}`, {
      hint: "it was removed, or its Job was deleted by hand; submit it again",
    });
  }

  private async all(
    signal: AbortSignal | undefined,
    id?: string,
  ): Promise<ReadonlyMap<string, Known>> {
    const query =
      id === undefined
        ? this.own
        : { labelSelector: `${this.own.labelSelector},${names.job}=${id}` };
    // Pods after Jobs: what a Job that was suspended still runs is in them.
    const jobs = await this.api.list<Job>(this.jobsPath, query, signal);
    const pods = await this.api.list<Pod>(this.podsPath, query, signal);
    // A pod that is deleted and does not go may be on a node that is lost.
    const leaving = pods.items.some(({ metadata }) => metadata.deletionTimestamp !== undefined);
    const nodes = leaving ? (await this.api.list<Node>("/api/v1/nodes", {}, signal)).items : [];
    return knownJobs(jobs.items, withoutLost(pods.items, nodes), this.options.gpuResource);
  }

  /** Says of a failed call what it was for. */
  private async ordered<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { status, reason, message } = error;
      const said = [status > 0 ? String(status) : "", reason, message].filter((s) => s !== "");
      throw new MillraceError("RUNNER_FAILED", `${what}: Kubernetes said ${said.join(" ")}`, {
        hint:
          status === 403
            ? "the account needs jobs, jobs/status, pods, pods/resize and configmaps of its namespace, and to list nodes and pods"
            : "the scheduler looks again; kubectl shows the Jobs by their label millrace.dev/cluster",
        cause: error,
      });
    }
  }
}
