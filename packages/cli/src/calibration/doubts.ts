/** What makes a measured run doubtful: the machine was not ours alone, or not the same all through it. */
import type { StepProfile } from "@millrace/serving";
import { FOREIGN_CORES } from "./machine.ts";
import type { CalibratedRun } from "./result.ts";

/** A run before and after which the machine was not equally fast is no measurement either. */
const DRIFT = 0.05;

/** Why one run is doubtful; empty = it is not. */
export function runDoubts(run: CalibratedRun): readonly string[] {
  const doubts: string[] = [];
  const { foreignCores, stolenCores, before, after } = run.machine;
  if (foreignCores !== null && foreignCores > FOREIGN_CORES)
    doubts.push(`other programs kept ${foreignCores.toFixed(2)} cores busy`);
  if (stolenCores !== null && stolenCores > FOREIGN_CORES)
    doubts.push(`the hypervisor took ${stolenCores.toFixed(2)} cores`);
  const drift = before === null || after === null ? 0 : after.all.ratio / before.all.ratio - 1;
  if (Math.abs(drift) > DRIFT)
    doubts.push(
      `the same steps took ${Math.abs(100 * drift).toFixed(1)}% ${drift > 0 ? "longer" : "less"} after it than before`,
    );
  if (run.failed > 0) doubts.push(`${run.failed} requests failed`);
  if (run.unlogged > 0)
    doubts.push(`${run.unlogged} answered requests are not in the engine's log: is its disk full?`);
  if (run.replay.difference !== null)
    doubts.push(`step ${run.replay.difference.ticket} was decided differently`);
  return doubts;
}

/** Why a profile is doubtful. */
export function profileDoubts({ loop, foreignCores = 0 }: StepProfile): readonly string[] {
  const doubts: string[] = [];
  if (loop === null) doubts.push("the load to learn from was too short for the serving loop");
  if (foreignCores > FOREIGN_CORES)
    doubts.push(`others kept ${foreignCores.toFixed(2)} cores busy while the profile was measured`);
  return doubts;
}

/** Why a calibration is doubtful. */
export function doubtsOf(runs: readonly CalibratedRun[], profile: StepProfile): readonly string[] {
  return [
    ...profileDoubts(profile),
    ...runs.flatMap((run, i) => runDoubts(run).map((doubt) => `run ${i + 1}: ${doubt}`)),
  ];
}
