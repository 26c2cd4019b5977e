import { allocatorConformance } from "./allocator.conformance.ts";
import { allocators } from "./registry.ts";

for (const [name, make] of Object.entries(allocators)) {
  const allocate = make("consolidate");
  allocatorConformance(name, {
    allocate: async (state, order) => allocate(state, order),
    skips: name === "greedy",
    executable: name !== "pooled",
  });
}
