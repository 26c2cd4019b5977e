/**
 * The gain over load and mix. Load is GPU time asked for over GPU time there is, at the speed of the share. Up to 95 % of it
 * what counts is how much faster jobs run; from there on it is which queue grows (Synergy §5.4, figures 7 and 8).
 */
import type { ReproduceRow } from "@millrace/core";
import { synergyCluster } from "../simulator/experiment.ts";
import { meanJobSeconds } from "../trace/generate.ts";
import type { Lab, Mix, Setting } from "./lab.ts";

const mixes: readonly Mix[] = [
  [20, 70, 10],
  [33, 33, 33],
  [50, 0, 50],
];

/** Jobs per hour at which single-GPU jobs ask for this part of the published cluster. */
export function rateAt(load: number): number {
  const { servers, gpus } = synergyCluster;
  return (load * servers * gpus * 3600) / meanJobSeconds;
}

const percent = (load: number): string => `${Math.round(100 * load)} % load`;

/** The whole trace counts: both clusters keep up with it. */
export async function belowCapacity(lab: Lab): Promise<readonly ReproduceRow[]> {
  const rows: ReproduceRow[] = [];
  const { quick } = lab.options;
  for (const mix of mixes)
    for (const load of quick ? [0.95] : [0.5, 0.8, 0.9, 0.95])
      for (const policy of load === 0.95 ? (["fifo", "srtf"] as const) : (["fifo"] as const)) {
        const setting: Setting = { policy, rate: rateAt(load), mix, jobs: quick ? 400 : 2000 };
        rows.push(
          await lab.over(
            `proportional over Tune, ${mix.join(":")}, ${percent(load)}, ${policy.toUpperCase()}`,
            null,
            "x",
            setting,
            lab.ratio(setting, "proportional", "tune"),
            "mean JCT, both keep up",
          ),
        );
      }
  return rows;
}

/** The paper's window of a long trace, where proportional falls behind: the ratio, and what of it is the running itself. */
export async function aboveCapacity(lab: Lab): Promise<readonly ReproduceRow[]> {
  const rows: ReproduceRow[] = [];
  const { quick } = lab.options;
  const window = quick ? ([1500, 2000] as const) : ([4000, 5000] as const);
  const jobs = quick ? 2400 : 6600;
  for (const mix of mixes)
    for (const rate of quick ? [8] : [7.62, 8, 8.4, 9]) {
      const setting: Setting = { policy: "fifo", rate, mix, jobs, window };
      const load = percent(rate / rateAt(1));
      const first = mix[0] === 20;
      const claim = `proportional over Tune, ${mix.join(":")}, ${load}, FIFO`;
      const note = `jobs ${window[0]} to ${window[1] - 1}`;
      const ratio = lab.ratio(setting, "proportional", "tune");
      const theirs = first && rate === 8 ? 3.4 : null;
      const where = theirs === null ? note : `${note}; theirs is "up to", with no setting given`;
      rows.push(await lab.over(claim, theirs, "x", setting, ratio, where));
      if (rate !== 8 && rate !== 9) continue;
      const filled = lab.ratio(setting, "proportional", "waterfill");
      const other = claim.replace("Tune", "water-filling");
      rows.push(await lab.over(other, null, "x", setting, filled, note));
      if (rate !== 8) continue;
      const running = lab.ratio(setting, "proportional", "tune", (run) => run.runningHours);
      const without = `${note}, from first start to end`;
      rows.push(
        await lab.over(`${claim}, time running alone`, null, "x", setting, running, without),
      );
    }
  return rows;
}
