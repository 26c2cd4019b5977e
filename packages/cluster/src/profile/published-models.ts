/** Published profiles as models of the simulator. */
import type { Model } from "../simulator/from-trace.ts";
import type { PublishedProfiles } from "./published.ts";
import { fromPublished } from "./speed-profile.ts";

/** Each model with its curve and the length of its iteration at this share of cores and GB per GPU. */
export function publishedModels(
  profiles: PublishedProfiles,
  shareCpus: number,
  shareGb: number,
): ReadonlyMap<string, Model> {
  return new Map(
    [...profiles].map(([name, profile]) => [
      name,
      {
        profile: fromPublished(name, profile, shareCpus, shareGb),
        iterationSeconds: profile.iterationSeconds,
      },
    ]),
  );
}
