/**
 * The ten models of Synergy's experiments as its artifact describes them: the least CPUs and memory per GPU that reach
 * the best throughput, that throughput over the one at the proportional share (3 CPUs and 62.5 GB per GPU), and seconds of
 * an iteration at the share. Between the share and the best case curves are taken as linear in CPUs.
 */
import { MillraceError } from "@millrace/core";
import type { Model } from "../simulator/from-trace.ts";
import { rateAt } from "./speed-profile.ts";

const shareCpus = 3;
const shareGb = 62.5;
const GB = 1e9;

/** Best CPUs per GPU, best GB per GPU, gain at 62.5 GB, gain at the best memory, seconds per iteration. */
const table: Readonly<Record<string, readonly [number, number, number, number, number]>> = {
  alexnet: [12, 125, 2, 2.94, 0.6],
  res18: [9, 62.5, 2.4, 2.4, 0.64],
  res50: [4, 62.5, 1.15, 1.15, 0.78],
  mobilenet: [6, 62.5, 1.55, 1.55, 0.71],
  shufflenet: [12, 125, 2, 2.89, 0.615],
  gnmt: [1, 20, 1, 1, 0.12],
  transformer: [1, 20, 1, 1, 0.67],
  lstm: [1, 20, 1, 1, 0.011],
  m5: [6, 187.5, 1.5, 2.5, 0.6],
  deepspeech: [3, 62.5, 1, 1, 0.757],
};

/**
 * The models, with the length of an iteration at this share of cores and GB per GPU. Throws PROFILE_INVALID for a share on
 * which one of them does not run.
 */
export function publishedMix(cpus = shareCpus, gb = shareGb): ReadonlyMap<string, Model> {
  return new Map(
    Object.entries(table).map(([name, [bestCpus, bestGb, gain, bestGain, iterationSeconds]]) => {
      const counts = [...new Set([1, 2, shareCpus, bestCpus])].sort((a, b) => a - b);
      const sizes = [...new Set([Math.min(bestGb, shareGb), bestGb])];
      const at = (cpus: number, gb: number): number => {
        if (bestCpus <= 1) return 1;
        if (cpus <= shareCpus) return cpus / shareCpus;
        const most = gb >= bestGb ? bestGain : gain;
        return 1 + ((most - 1) * (cpus - shareCpus)) / (bestCpus - shareCpus);
      };
      const rate = counts.map((cpus) => sizes.map((gb) => at(cpus, gb) / iterationSeconds));
      const profile = { name, cpus: counts, hostBytes: sizes.map((gb) => gb * GB), rate };
      return [name, { profile, iterationSeconds: iterationAt(profile, cpus, gb) }];
    }),
  );
}

function iterationAt(profile: Model["profile"], cpus: number, gb: number): number {
  const rate = rateAt(profile, cpus, gb * GB);
  if (rate > 0) return 1 / rate;
  throw new MillraceError(
    "PROFILE_INVALID",
    `model ${profile.name} does not run on its share of ${cpus} CPUs and ${gb} GB per GPU`,
    { hint: "give the servers more memory, or profiles of your own with --profiles" },
  );
}
