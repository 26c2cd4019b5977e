/** One decision: order the jobs by the policy, apply the tenants' terms, allocate. */
import type { Allocator, AsyncAllocator, ClusterState, JobState, Plan } from "./contracts.ts";
import { orderJobs } from "./policy/order.ts";
import type { PolicyName } from "./policy/policy.ts";

/** Order and plan of a state; the order is worth keeping as the next state's `jobs`, since it changes little. */
export interface Decision {
  readonly order: readonly JobState[];
  readonly plan: Plan;
}

/** Decides at once. */
export function decide(state: ClusterState, policy: PolicyName, allocate: Allocator): Decision {
  const order = orderJobs(state, policy);
  return { order, plan: allocate(state, order) };
}

/** Decides with an allocator that may compute elsewhere. */
export async function decideLater(
  state: ClusterState,
  policy: PolicyName,
  allocate: Allocator | AsyncAllocator,
): Promise<Decision> {
  const order = orderJobs(state, policy);
  return { order, plan: await allocate(state, order) };
}
