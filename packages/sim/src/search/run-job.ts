/** Carries out jobs. A runner keeps workloads and cost tables between jobs, so that a worker makes each of them once. */
import { contentHash } from "@millrace/core";
import type { StepCostModel } from "@millrace/serving";
import type { SimulationConfig } from "../types.ts";
import { findFamily } from "./family.ts";
import { type CostModel, findCapacity, reportOf, workOf } from "./find-capacity.ts";
import type { RateJob, RateOutcome, SearchJob, SearchOutcome } from "./job.ts";
import { probeRate } from "./probe.ts";
import { makeWorkload, type UnitWorkload, unitWorkload } from "./workload.ts";

/** Tables and workloads kept. */
const KEPT = 64;

/** What a runner is made of. */
export interface JobServices {
  /** Called once per deployment and runner; may read files. */
  readonly makeCost: (config: SimulationConfig) => CostModel | Promise<CostModel>;
}

/** Makes a runner: a pure function of the job, with caches. */
export function createJobRunner(services: JobServices): (job: SearchJob) => Promise<SearchOutcome> {
  const workloads = new Map<string, UnitWorkload>();
  const costs = new Map<string, CostModel>();
  const shared = new Map<string, object>();
  /** One object per content, since predictors keep their tables by identity. */
  const intern = <T extends object>(value: T): T => {
    const key = contentHash(value);
    const known = shared.get(key);
    if (known !== undefined) return known as T;
    shared.set(key, value);
    return value;
  };
  return async (job) => {
    const workload = await remember(workloads, job.workload.hash, () =>
      unitWorkload(makeWorkload(job.workload)),
    );
    const config = {
      ...job.deployment,
      model: intern(job.deployment.model),
      device: intern(job.deployment.device),
    };
    const { scheduler: _s, slo: _l, fluidity: _f, seed: _e, ...hardware } = job.deployment;
    const cost = await remember(costs, contentHash(hardware), () => services.makeCost(config));
    const scaled = job.timeScale === 1 ? cost : new ScaledCost(cost, job.timeScale);
    const task = { ...job, deployment: config };
    switch (task.kind) {
      case "capacity":
        return findCapacity(task, workload, scaled).outcome;
      case "family":
        return findFamily(task, workload, scaled);
      case "rate":
        return judgeRate(task, workload, scaled);
    }
  };
}

async function remember<T>(
  cache: Map<string, T>,
  key: string,
  make: () => T | Promise<T>,
): Promise<T> {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = await make();
  if (cache.size >= KEPT) cache.delete(cache.keys().next().value as string);
  cache.set(key, made);
  return made;
}

/** Predicted times, all wrong by the same factor. */
class ScaledCost implements StepCostModel {
  readonly unfitted: readonly string[];
  private readonly cost: CostModel;
  private readonly factor: number;

  constructor(cost: CostModel, factor: number) {
    this.cost = cost;
    this.factor = factor;
    this.unfitted = cost.unfitted ?? [];
  }

  stepSeconds(...step: Parameters<StepCostModel["stepSeconds"]>): number {
    return this.factor * this.cost.stepSeconds(...step);
  }
}

function judgeRate(job: RateJob, workload: UnitWorkload, cost: CostModel): RateOutcome {
  const requests = workload.at(job.rateQps);
  const probe = probeRate(job.deployment, requests, job.rateQps, cost, job.geometry, {
    abort: false,
  });
  return { kind: "rate", report: reportOf(probe), work: workOf([probe]) };
}
