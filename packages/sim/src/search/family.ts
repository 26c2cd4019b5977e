/**
 * Carries out a family job. Members differ in the batch size cap; a run in which the smaller cap and the memory never
 * had a say goes the same way, to the last bit, under a larger cap, so that it is not made again. Far from saturation,
 * where runs are longest, this is nearly always so.
 */
import { invariant } from "@millrace/core";
import { unconstrained } from "./demand.ts";
import { type CostModel, findCapacity } from "./find-capacity.ts";
import type { CapacityJob, CapacityOutcome, FamilyJob, FamilyOutcome } from "./job.ts";
import type { Probe } from "./probe.ts";
import type { UnitWorkload } from "./workload.ts";

export function findFamily(job: FamilyJob, workload: UnitWorkload, cost: CostModel): FamilyOutcome {
  const members: CapacityOutcome[] = [];
  let earlier: CapacityJob | null = null;
  let runs: readonly Probe[] = [];
  for (const { batchSizeCap, geometry } of job.members) {
    invariant(
      earlier === null || earlier.deployment.scheduler.batchSizeCap < batchSizeCap,
      "members of a family come by ascending cap",
    );
    const { members: _, kind: _kind, ...common } = job;
    const member: CapacityJob = {
      ...common,
      kind: "capacity",
      deployment: { ...job.deployment, scheduler: { ...job.deployment.scheduler, batchSizeCap } },
      geometry,
      startQps: null,
      spread: 0,
    };
    const found = findCapacity(member, workload, cost, sameRuns(earlier, member, runs));
    members.push(found.outcome);
    runs = found.runs;
    earlier = member;
  }
  return { kind: "family", members, work: totalWork(members) };
}

/** The runs of an earlier member that a later one would repeat: unconstrained by the cap of one and the memory of both. */
function sameRuns(
  earlier: CapacityJob | null,
  later: CapacityJob,
  runs: readonly Probe[],
): readonly Probe[] {
  if (earlier === null || earlier.geometry.blockTokens !== later.geometry.blockTokens) return [];
  return runs.filter(
    ({ demand, usage }) =>
      unconstrained(earlier.deployment, earlier.geometry, demand, usage) &&
      unconstrained(later.deployment, later.geometry, demand, usage),
  );
}

function totalWork(members: readonly CapacityOutcome[]): FamilyOutcome["work"] {
  const sum = (of: keyof FamilyOutcome["work"]): number =>
    members.reduce((total, m) => total + m.work[of], 0);
  return {
    simulations: sum("simulations"),
    requests: sum("requests"),
    simulatedSeconds: sum("simulatedSeconds"),
  };
}
