/**
 * What is free on each server while a plan is made. Counts only; which GPUs a job gets is settled at the end
 * (placement/gpus.ts). Jobs of one data set on one server are charged for its cache once: the largest of their grants.
 */
import type { ClusterState, JobState, Spanning } from "../contracts.ts";
import type { Choice } from "../profile/options.ts";

/** A job's GPUs on one server. */
export interface Part {
  readonly server: number;
  readonly gpus: number;
}

/** A job with what the plan gives it so far. */
export interface Draft {
  readonly job: JobState;
  readonly parts: readonly Part[];
  choice: Choice;
}

/** Rounding room: cores and bytes are compared with this much slack. */
const slack = 1e-6;

/** Free resources by server, and the drafts on each in the order of placement. */
export class Ledger {
  readonly servers: number;
  readonly spanning: Spanning;
  readonly gpus: Int32Array;
  readonly cpus: Float64Array;
  readonly hostBytes: Float64Array;
  readonly drafts: Draft[][];
  /** GPUs that new jobs may take, over all servers. */
  freeGpus = 0;
  /** No server below this index has a free GPU. */
  private lowest = 0;

  constructor(state: ClusterState) {
    const n = state.servers.length;
    this.servers = n;
    this.spanning = state.spanning ?? "any";
    this.gpus = new Int32Array(n);
    this.cpus = new Float64Array(n);
    this.hostBytes = new Float64Array(n);
    this.drafts = Array.from({ length: n }, () => []);
    state.servers.forEach((server, s) => {
      this.cpus[s] = server.condition === "down" ? 0 : server.cpus;
      this.hostBytes[s] = server.condition === "down" ? 0 : server.hostBytes;
      if (server.condition !== "up") return;
      this.gpus[s] = server.gpus;
      this.freeGpus += server.gpus;
    });
  }

  /** First server that may have a free GPU. */
  get first(): number {
    while (this.lowest < this.servers && (this.gpus[this.lowest] as number) <= 0) this.lowest++;
    return this.lowest;
  }

  /** Whether CPUs and memory of `gpus` GPUs' part of the choice are free there. GPUs are not looked at. */
  fits(server: number, job: JobState, choice: Choice, gpus: number): boolean {
    const part = gpus / job.gpus;
    return (
      choice.cpus * part <= (this.cpus[server] as number) + slack &&
      this.bytesOf(server, job, choice, part, null) <= (this.hostBytes[server] as number) + slack
    );
  }

  /** Places the job; the caller has checked that it fits. GPUs of draining servers may be retaken by their holder. */
  add(job: JobState, choice: Choice, parts: readonly Part[]): Draft {
    const draft: Draft = { job, choice, parts };
    for (const { server, gpus } of parts) {
      this.chargeResources(server, draft, gpus, 1);
      this.takeGpus(server, gpus);
      this.drafts[server]?.push(draft);
    }
    return draft;
  }

  /** Takes the job off its servers. */
  remove(draft: Draft): void {
    for (const { server, gpus } of draft.parts) {
      const drafts = this.drafts[server] as Draft[];
      drafts.splice(drafts.indexOf(draft), 1);
      this.chargeResources(server, draft, gpus, -1);
      this.takeGpus(server, -gpus);
    }
  }

  /** Gives a placed job another choice, whether it fits or not; check with `fitsInstead`. */
  change(draft: Draft, choice: Choice): void {
    for (const { server, gpus } of draft.parts) {
      const drafts = this.drafts[server] as Draft[];
      const at = drafts.indexOf(draft);
      drafts.splice(at, 1);
      this.chargeResources(server, draft, gpus, -1);
      const before = draft.choice;
      draft.choice = choice;
      this.chargeResources(server, draft, gpus, 1);
      draft.choice = before;
      drafts.splice(at, 0, draft);
    }
    draft.choice = choice;
  }

  /** Whether the job could have this choice instead of its own, where it is. */
  fitsInstead(draft: Draft, choice: Choice): boolean {
    const { job } = draft;
    return draft.parts.every(({ server, gpus }) => {
      const part = gpus / job.gpus;
      const extraCpus = (choice.cpus - draft.choice.cpus) * part;
      const extraBytes =
        this.bytesOf(server, job, choice, part, draft) -
        this.bytesOf(server, job, draft.choice, part, draft);
      return (
        extraCpus <= (this.cpus[server] as number) + slack &&
        extraBytes <= (this.hostBytes[server] as number) + slack
      );
    });
  }

  private takeGpus(server: number, gpus: number): void {
    const before = this.gpus[server] as number;
    const after = before - gpus;
    this.gpus[server] = after;
    this.freeGpus += Math.max(0, after) - Math.max(0, before);
    if (after > 0 && server < this.lowest) this.lowest = server;
  }

  /** Called while `draft` is not among the server's drafts. */
  private chargeResources(server: number, draft: Draft, gpus: number, sign: 1 | -1): void {
    const part = gpus / draft.job.gpus;
    this.cpus[server]! -= sign * draft.choice.cpus * part;
    this.hostBytes[server]! -= sign * this.bytesOf(server, draft.job, draft.choice, part, draft);
  }

  /** Host memory that the job adds to the server's charge, `except` left out of those that share its cache. */
  private bytesOf(
    server: number,
    job: JobState,
    choice: Choice,
    part: number,
    except: Draft | null,
  ): number {
    const whole = choice.hostBytes * part;
    if (job.dataset === null) return whole;
    const shared = sharedCache(this.drafts[server] as Draft[], server, job.dataset, except);
    return whole - Math.min(choice.cacheBytes * part, shared);
  }
}

/** The largest cache of the data set among the drafts on the server. */
export function sharedCache(
  drafts: readonly Draft[],
  server: number,
  dataset: string,
  except: Draft | null,
): number {
  let largest = 0;
  for (const draft of drafts) {
    if (draft === except || draft.job.dataset !== dataset) continue;
    const gpus = draft.parts.find((part) => part.server === server)?.gpus ?? 0;
    largest = Math.max(largest, (draft.choice.cacheBytes * gpus) / draft.job.gpus);
  }
  return largest;
}
