/**
 * The makespan of many jobs at once, the shape of the paper's static experiment. A makespan is the end of one job, so one
 * trace says little: there are many, and they are told apart by what their last job can gain.
 */
import type { ReproduceRow } from "@millrace/core";
import { rateAt as speedOf } from "../profile/speed-profile.ts";
import { synergyCluster } from "../simulator/experiment.ts";
import type { Lab, Mix, Setting } from "./lab.ts";

/** What the published simulator gave on the artifact's own trace, hours. */
const theirs = 15.25 / 11;

/** 100 jobs at once on 32 GPUs, as the artifact's deployment trace. */
export function staticSetting(mix: Mix): Setting {
  return {
    policy: "fifo",
    rate: null,
    mix,
    jobs: 100,
    cluster: { ...synergyCluster, servers: 4 },
  };
}

/** Seeds of the traces. */
export function staticSeeds({ options: { quick, seed } }: Lab): readonly number[] {
  return Array.from({ length: quick ? 5 : 40 }, (_, i) => seed + i);
}

export async function makespans(lab: Lab): Promise<readonly ReproduceRow[]> {
  const claim = "makespan of proportional over that of Tune, 100 jobs at once on 32 GPUs";
  const mixed = await ratios(lab, [60, 30, 10]);
  const image = await ratios(lab, [100, 0, 0]);
  const reach = (runs: readonly Ratio[]) => runs.filter(({ ratio }) => ratio >= 1.39).length;
  const values = (runs: readonly Ratio[]) => runs.map(({ ratio }) => ratio);
  const count = (runs: readonly Ratio[]) =>
    `${runs.length} traces, ${reach(runs)} of them at 1.39 or more`;
  const gains = mixed.filter(({ gain }) => gain >= 1.39);
  const others = mixed.filter(({ gain }) => gain < 1.39);
  const rows = [
    lab.row(
      claim,
      theirs,
      "x",
      values(mixed),
      100,
      `FIFO, 60:30:10, ${count(mixed)}; theirs is one trace`,
    ),
  ];
  if (gains.length > 0)
    rows.push(
      lab.row(
        "the same where the last job to end gains 1.39 or more when it has the CPUs",
        null,
        "x",
        values(gains),
        100,
        `by its model, under proportional; ${count(gains)}`,
      ),
    );
  if (others.length > 0)
    rows.push(
      lab.row("the same where it gains less", null, "x", values(others), 100, count(others)),
    );
  rows.push(
    lab.row(
      "the same of image models alone",
      null,
      "x",
      values(image),
      100,
      `FIFO, 100:0:0, ${count(image)}`,
    ),
  );
  return rows;
}

interface Ratio {
  readonly ratio: number;
  /** Most speed that the model of the last job under proportional reaches. */
  readonly gain: number;
}

async function ratios(lab: Lab, mix: Mix): Promise<readonly Ratio[]> {
  const setting = staticSetting(mix);
  const all: Ratio[] = [];
  for (const seed of staticSeeds(lab)) {
    const share = await lab.measure(setting, "proportional", seed);
    const tuned = await lab.measure(setting, "tune", seed);
    all.push({
      ratio: share.makespanHours / tuned.makespanHours,
      gain: bestGain(lab, share.lastModel),
    });
  }
  return all;
}

function bestGain({ models }: Lab, name: string): number {
  const profile = models.get(name)?.profile;
  if (profile === undefined) return Number.NaN;
  const { gpus, cpus, hostBytes } = synergyCluster;
  const most = speedOf(profile, cpus, hostBytes);
  return most / speedOf(profile, cpus / gpus, hostBytes / gpus);
}
