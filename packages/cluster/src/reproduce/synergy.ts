/** The experiments of Synergy (Mohan et al., OSDI 2022) on the house's simulator, costs of restarts left out as theirs are. */
import type { Reproduce, ReproduceRow, Reproduction } from "@millrace/core";
import { publishedMix } from "../profile/published-mix.ts";
import { Lab, type Setting } from "./lab.ts";
import { aboveCapacity, belowCapacity } from "./load.ts";
import { makespans } from "./makespan.ts";
import { publishedRuns } from "./published-runs.ts";

/** Runs the reproduction: of the paper's settings, or with `data` of the published simulator's own traces and results. */
export const reproduceSynergy: Reproduce = async (options): Promise<Reproduction> => {
  const { quick, data } = options;
  const lab = new Lab(options, publishedMix(), totalOf(quick, data !== undefined));
  return {
    schema: "millrace.reproduce/1",
    paper: "synergy",
    title: "Synergy: resource-sensitive DNN scheduling in multi-tenant clusters (OSDI 2022)",
    rows: data === undefined ? await published(lab) : await publishedRuns(lab, data),
    unfitted: [],
  };
};

/** About how many runs, for the progress line. */
function totalOf(quick: boolean, data: boolean): number {
  if (data) return quick ? 61 : 131;
  return quick ? 53 : 364;
}

async function published(lab: Lab): Promise<readonly ReproduceRow[]> {
  const { quick } = lab.options;
  const jobs = quick ? 400 : 2000;
  const overload: ReproduceRow[] = [];
  for (const policy of ["fifo", "srtf", "las"] as const) {
    const setting: Setting = { policy, rate: 9, mix: [20, 70, 10], jobs };
    overload.push(
      await lab.over(
        `proportional over Tune, 20:70:10, the first ${jobs} jobs at 118 % load, ${policy.toUpperCase()}`,
        null,
        "x",
        setting,
        lab.ratio(setting, "proportional", "tune"),
        "mean JCT; the published simulator's figures on traces of its own are in the other table",
      ),
    );
  }
  return [
    ...overload,
    ...(await belowCapacity(lab)),
    ...(await aboveCapacity(lab)),
    ...(await makespans(lab)),
    ...(await allocatorsCompared(lab, jobs)),
  ];
}

/** Tune, OPT, water-filling and the packing-free reference on the mix that is hardest to pack. */
async function allocatorsCompared(lab: Lab, jobs: number): Promise<readonly ReproduceRow[]> {
  const exact: Setting = {
    policy: "srtf",
    rate: 7,
    mix: [50, 0, 50],
    jobs: lab.options.quick ? 150 : 500,
  };
  const mixed: Setting = { ...exact, jobs };
  const above = (of: (seed: number) => Promise<number>) => async (seed: number) =>
    100 * ((await of(seed)) - 1);
  return [
    await lab.over(
      "mean JCT of Tune above that of OPT",
      10,
      "%",
      exact,
      above(lab.ratio(exact, "tune", "opt")),
      "the paper says within 10 %",
    ),
    await lab.over(
      "mean JCT of Tune over that of water-filling",
      null,
      "x",
      mixed,
      lab.ratio(mixed, "tune", "waterfill"),
      "intermediate points of the curves and sticky placement, not in the paper",
    ),
    await lab.over(
      "mean JCT of water-filling above the packing-free reference",
      null,
      "%",
      mixed,
      above(lab.ratio(mixed, "waterfill", "pooled")),
      "what packing into servers costs",
    ),
  ];
}
