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
export function benchRun(run: BenchRun, hooks: { timeline?: boolean } = {}): Promise<Outcome> {
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

/** Total over the jobs of a run. */
export function sum(values: Uint32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
