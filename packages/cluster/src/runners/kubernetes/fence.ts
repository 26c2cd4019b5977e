/**
 * One scheduler at a time on Kubernetes: a ConfigMap holds the number of the scheduler in charge and every Job the number of
 * the last one that touched it. Orders are compare-and-swap on the Job, and taking over touches all Jobs, so an order of an
 * older scheduler fails.
 */
import { fenced } from "../fence.ts";
import { ApiError, type KubeApi } from "./api.ts";
import { annotate, names } from "./manifest.ts";
import type { ConfigMap, KubeObject } from "./objects.ts";

/** Conflicts with other writers of one object pass after a few tries. */
export const mostConflicts = 8;

export class KubeFence {
  private readonly api: KubeApi;
  private readonly folder: string;
  private readonly name: string;
  private number = 0;

  constructor(api: KubeApi, namespace: string, cluster: string) {
    this.api = api;
    this.folder = `/api/v1/namespaces/${namespace}/configmaps`;
    this.name = `millrace-${cluster}`;
  }

  /** This scheduler's number; 0 before it has taken over. */
  get own(): number {
    return this.number;
  }

  /** The number of the scheduler that touched a Job last. */
  of({ metadata }: KubeObject): number {
    return Number(metadata.annotations?.[names.fence] ?? 0);
  }

  /** Marks a Job as last touched by this scheduler. */
  stamp(): ReturnType<typeof annotate> {
    return annotate(names.fence, String(this.number));
  }

  /** Throws SCHEDULER_FENCED when a later scheduler has touched the Job. */
  check(job: KubeObject): void {
    const now = this.of(job);
    if (now > this.number) throw fenced(now, this.number);
  }

  /** Throws SCHEDULER_FENCED when this scheduler is not the one in charge any more. */
  async stillInCharge(signal?: AbortSignal): Promise<void> {
    const record = await this.api.get<ConfigMap>(`${this.folder}/${this.name}`, signal);
    const now = Number(record.data?.fence ?? 0);
    if (now > this.number) throw fenced(now, this.number);
  }

  /** Takes charge. Throws SCHEDULER_FENCED when a later one has. */
  async raise(number: number, signal?: AbortSignal): Promise<void> {
    const path = `${this.folder}/${this.name}`;
    for (let conflicts = 0; ; conflicts++) {
      try {
        const record = await this.api.get<ConfigMap>(path, signal);
        const now = Number(record.data?.fence ?? 0);
        if (now > number) throw fenced(now, number);
        const { resourceVersion } = record.metadata;
        const change = { metadata: { resourceVersion }, data: { fence: String(number) } };
        if (now < number) await this.api.merge(path, change, signal);
        this.number = number;
        return;
      } catch (error) {
        if (conflicts === mostConflicts) throw error;
        if (error instanceof ApiError && error.status === 404) await this.create(number, signal);
        else if (!isConflict(error)) throw error;
      }
    }
  }

  private async create(number: number, signal?: AbortSignal): Promise<void> {
    const labels = { "app.kubernetes.io/managed-by": "millrace" };
    const record = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: this.name, labels },
      data: { fence: String(number) },
    };
    try {
      await this.api.create(this.folder, record, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
    }
  }
}

/** Whether somebody else changed the object meanwhile. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409 && error.reason === "Conflict";
}
