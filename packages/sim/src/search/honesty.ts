/** What the plan does not know: printed with every plan, so that nobody takes a simulation for a measurement. */
import type { PlanSpec } from "./spec.ts";

/** Sentences; the predictor's unfitted terms are listed per candidate. */
export function notModelled(spec: PlanSpec): string[] {
  const { unseenShare = 0 } = spec;
  const list = [
    ...(unseenShare > 0
      ? [
          `lengths that the profile has not seen: ${Math.ceil(100 * unseenShare)}% of the requests; their steps are extrapolated`,
        ]
      : []),
    "kernel-level differences between serving engines: candidates share one cost model",
    "tokenisation, HTTP, network between clients and replicas, and time between failures and recovery",
    "imbalance between replicas: each is judged alone under its even share of the load, with the workload's own burstiness",
    "prefix caching, speculative decoding, LoRA adapters and disaggregated prefill",
    "autoscaling: replicas are sized for the peak and run all the time",
    "power, reservations, volume discounts and the price of hosts, storage and network",
  ];
  if (spec.space.pipelineParallel.some((p) => p > 1))
    list.push("contention on links: transfers between stages have the link to themselves");
  if (spec.model.experts !== undefined)
    list.push("imbalance between experts: routing is taken to be even");
  if (spec.predictor.type === "roofline")
    list.push(
      "this machine: coefficients come from published profiles of other machines; `millrace bench` against one real replica checks them",
    );
  return list;
}
