/** What the planner believes of each job's speed: its model's profile, refined by what was observed of the job itself. Pure. */
import { learn, type OnlineProfile, onlineOptions, onlineProfile } from "../profile/online.ts";
import { type ShareTerms, type SpeedOptions, speedOptions } from "../profile/options.ts";
import type { RefillTerms } from "../profile/refill.ts";
import { type Doubt, doubt, type Observation } from "../profile/refine.ts";
import type { SpeedProfile } from "../profile/speed-profile.ts";
import type { JobEntry } from "./jobs-file.ts";
import type { JobRecord } from "./run-state.ts";

/** A model's curve, as `modelOfJobProfile` and published profiles give it. */
export interface CurveOfModel extends RefillTerms {
  readonly profile: SpeedProfile;
  readonly ownBytes?: number;
}

/** Rates above the best believed one that count as possible. */
const credibleGain = 1.25;

interface Belief {
  /** Observations that are in `online`. */
  looks: number;
  online: OnlineProfile;
  options: { readonly key: string; readonly made: SpeedOptions } | null;
}

export class Beliefs {
  private readonly models: ReadonlyMap<string, CurveOfModel>;
  private readonly leastSeconds: number;
  private readonly measured = new Map<string, SpeedOptions>();
  private readonly jobs = new Map<string, Belief>();

  /** Observations shorter than `leastSeconds` say nothing. */
  constructor(models: ReadonlyMap<string, CurveOfModel>, leastSeconds: number) {
    this.models = models;
    this.leastSeconds = leastSeconds;
  }

  /** The choices that the job has; a job without a profile is taken to need its share, and to gain from nothing more. */
  options(job: JobRecord, share: ShareTerms): SpeedOptions {
    const belief = job.observations.length === 0 ? null : this.of(job);
    if (belief === null) return this.asMeasured(job.entry, share);
    const key = Object.values(share).join(" ");
    if (belief.options?.key !== key) {
      const { gpus } = job.entry;
      const made = onlineOptions(belief.online, gpus, share, this.curve(job.entry)?.ownBytes);
      belief.options = { key, made };
    }
    return belief.options.made;
  }

  /** Whether the job has a profile that its reports may refine. */
  learnsFrom({ entry }: JobRecord): boolean {
    return this.curve(entry) !== undefined;
  }

  /** Why an observation of the job is not believed, or null. */
  doubtOf(job: JobRecord, observation: Observation): Doubt | null {
    return doubt(observation, this.of(job)?.online.seen ?? [], this.leastSeconds);
  }

  /** Seconds after a start in which the job says nothing of its warm speed: about its first, cold epoch. */
  settleSeconds({ entry }: JobRecord): number {
    return 3 * (this.curve(entry)?.refillSeconds ?? 0);
  }

  /** Samples per second that the job can have at most; Infinity without a profile. */
  credibleRate(job: JobRecord): number {
    const rates = this.of(job)?.online.believed.rate.flat();
    return rates === undefined
      ? Number.POSITIVE_INFINITY
      : credibleGain * job.entry.gpus * Math.max(...rates);
  }

  curve({ model }: JobEntry): CurveOfModel | undefined {
    return model === undefined ? undefined : this.models.get(model);
  }

  /** What the job's observations make of its profile; each is looked at once. Null without a profile. */
  private of(job: JobRecord): Belief | null {
    const curve = this.curve(job.entry);
    if (curve === undefined) return null;
    let belief = this.jobs.get(job.entry.id);
    if (belief === undefined) {
      belief = { looks: 0, online: onlineProfile(curve.profile), options: null };
      this.jobs.set(job.entry.id, belief);
    }
    for (const observation of job.observations.slice(belief.looks)) {
      belief.online = learn(belief.online, observation, this.leastSeconds);
      belief.options = null;
      belief.looks++;
    }
    return belief;
  }

  private asMeasured(entry: JobEntry, share: ShareTerms): SpeedOptions {
    const key = `${entry.gpus} ${entry.model ?? ""} ${Object.values(share).join(" ")}`;
    let made = this.measured.get(key);
    if (made === undefined) {
      const curve = this.curve(entry);
      made = speedOptions(curve?.profile ?? flat(share), entry.gpus, share, curve?.ownBytes);
      this.measured.set(key, made);
    }
    return made;
  }
}

function flat({ cpusPerGpu, hostBytesPerGpu }: ShareTerms): SpeedProfile {
  return { name: "flat", cpus: [cpusPerGpu], hostBytes: [hostBytesPerGpu], rate: [[1]] };
}
