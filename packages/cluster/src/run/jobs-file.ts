/** The file of `cluster run`: the cluster's terms and the jobs, checked once. */
import { bytesField, secondsField } from "@millrace/core/config";
import { z } from "zod";
import { allocatorNames } from "../allocator/registry.ts";
import { policyNames } from "../policy/policy.ts";

const id = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$/, "expected 1 to 52 of a-z, 0-9 and inner dashes");

const serverSchema = z.strictObject({
  name: id,
  /** Whole jobs' places where the machine has no GPUs. */
  gpus: z.int().positive(),
  cpus: z.number().positive(),
  hostMemory: bytesField,
});

const tenantSchema = z.strictObject({
  name: z.string().min(1),
  weight: z.number().positive().default(1),
  quotaGpus: z.number().nonnegative().nullable().default(null),
  limitGpus: z.number().nonnegative().nullable().default(null),
});

const clusterSchema = z.strictObject({
  name: id.default("default"),
  policy: z.enum(policyNames as [string, ...string[]]).default("srtf"),
  allocator: z
    .enum(allocatorNames.filter((name) => name !== "pooled") as [string, ...string[]])
    .default("waterfill"),
  /** Time between plans. */
  round: secondsField.default(60),
  /** events: also when a job arrives or ends or a server changes. */
  decisions: z.enum(["rounds", "events"]).default("events"),
  /** Profiles learn from stretches of running that are so long; 0: they stay as they are. */
  learn: secondsField.default(60),
  starvation: secondsField.default(4 * 3600),
  tenants: z.array(tenantSchema).default([]),
  /** Local: parts of this machine; without them the whole machine is one server. */
  servers: z.array(serverSchema).optional(),
  bound: z.enum(["cgroup", "taskset"]).optional(),
  /** Slurm. */
  partition: z.string().min(1).optional(),
  /** Kubernetes. */
  namespace: z.string().min(1).optional(),
  /** Kubernetes: pods of a node that does not answer are given up after this. */
  lostAfter: secondsField.default(30),
});

const jobSchema = z.strictObject({
  id,
  /** Name of a profile; a job without one gets its proportional share. */
  model: z.string().min(1).optional(),
  command: z.tuple([z.string().min(1)], z.string()),
  directory: z.string().min(1).default("."),
  environment: z.record(z.string().regex(/^[A-Za-z_]\w*$/), z.string()).default({}),
  log: z.string().min(1).optional(),
  image: z.string().min(1).optional(),
  user: z.string().min(1).optional(),
  gpus: z.int().positive().default(1),
  /** Work: in the profile's samples, or as time at the proportional share. */
  samples: z.number().positive().optional(),
  duration: secondsField.optional(),
  /** After the run began. */
  arrive: secondsField.default(0),
  tenant: z.string().min(1).default("all"),
  preemptible: z.boolean().default(false),
  /** restart: more cores help only after a restart (a fixed number of workers). */
  resize: z.enum(["live", "restart"]).default("live"),
  /** From asking it to stop until it is killed, both through its lease and by signal. */
  grace: secondsField.default(30),
  restartCost: secondsField.default(30),
  /** Speed over several servers, of that on one. */
  spanFactor: z.number().positive().max(1).default(0.9),
  retries: z.int().nonnegative().default(2),
  dataset: z.string().min(1).optional(),
});

/** Terms and jobs of a run. */
export const jobsFileSchema = z.strictObject({
  $schema: z.string().optional(),
  cluster: clusterSchema.prefault({}),
  /** A file or folder of profiles; relative to this file. */
  profiles: z.string().min(1).optional(),
  jobs: z.array(jobSchema).min(1),
});

export type JobsFile = z.infer<typeof jobsFileSchema>;
export type ClusterTerms = JobsFile["cluster"];
export type JobEntry = JobsFile["jobs"][number];
