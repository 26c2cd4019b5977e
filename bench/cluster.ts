/** What the cluster benches share: states of a given size, and runs over generated traces. */
import {
  type AllocatorName,
  type ClusterShape,
  type Experiment,
  generateTrace,
  gpuCounts,
  type Outcome,
  type PolicyName,
  plainExperiment,
  publishedMix,
  runExperiment,
  type SimulationHooks,
  synergyMix,
} from "../packages/cluster/src/index.ts";

export const models = publishedMix();

/** A run to make. */
export interface BenchRun {
  readonly jobs: number;
  readonly rate: number;
  readonly seed: number;
  readonly mix?: readonly [number, number, number];
  readonly gpus?: keyof typeof gpuCounts;
  readonly policy?: PolicyName;
  readonly allocator: AllocatorName;
  readonly cluster?: ClusterShape;
  readonly over?: Partial<Experiment>;
}

/** Runs a generated trace, with decision times. */
export function benchRun(run: BenchRun, hooks: SimulationHooks = {}): Promise<Outcome> {
  const { mix = [20, 70, 10], gpus = "single", policy = "fifo", over = {} } = run;
  const trace = generateTrace({
    jobs: run.jobs,
    seed: run.seed,
    arrivals: { kind: "poisson", jobsPerHour: run.rate },
    classes: synergyMix(...mix),
    gpus: gpuCounts[gpus],
    iterationSeconds: (model) => models.get(model)?.iterationSeconds ?? 1,
  });
  const experiment: Experiment = {
    ...plainExperiment,
    cluster: run.cluster ?? plainExperiment.cluster,
    policy,
    allocator: run.allocator,
    ...over,
  };
  return runExperiment(trace, models, experiment, { clock: () => performance.now(), ...hooks });
}

/** Jobs that had arrived and not ended, by round, from the first round with a job to the last arrival. */
export function activeJobs({ jobs, result }: Outcome, roundSeconds = 300): readonly number[] {
  const arrivals = Float64Array.from(jobs, (job) => job.arrivedAt).sort();
  const ends = result.finish.filter((at) => !Number.isNaN(at)).sort();
  const counts: number[] = [];
  let arrived = 0;
  let ended = 0;
  const round = (at: number) => Math.ceil(at / roundSeconds) * roundSeconds;
  for (let now = round(arrivals[0] ?? 0); now <= (arrivals.at(-1) ?? 0); now += roundSeconds) {
    while ((arrivals[arrived] ?? Number.POSITIVE_INFINITY) <= now) arrived++;
    while ((ends[ended] ?? Number.POSITIVE_INFINITY) <= now) ended++;
    counts.push(arrived - ended);
  }
  return counts;
}

/** Total over the jobs of a run. */
export function sum(values: Uint32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
