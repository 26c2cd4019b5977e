/** KV memory for tests: reserved and readable as a whole, without page orders. Both layouts, with strides that show mix-ups. */
import { Reservation } from "@millrace/system";
import type { KvGeometry, KvMemory } from "../../../contracts.ts";

export type TestLayout = "per-layer" | "sliced";

/** Everything mapped; pages take memory when touched. */
export function testMemory(geometry: KvGeometry, layout: TestLayout = "per-layer"): KvMemory {
  const { slots, slotTokens, layers, tokenBytes } = geometry;
  const tokenStride = layout === "sliced" ? tokenBytes * layers : tokenBytes;
  const slotStride = Math.ceil((slotTokens * tokenStride) / 4096) * 4096;
  const tensor = slots * slotStride;
  const tensors = layout === "sliced" ? 2 : 2 * layers;
  const range = new Reservation(tensor * tensors, "read-write");
  return {
    groupBytes: 4096,
    mappedGroups: 0,
    carryOut: () => [],
    carryOutInBackground: async () => [],
    address(layer, kind) {
      const which = kind === "k" ? 0 : 1;
      const at =
        layout === "sliced" ? which * tensor + layer * tokenBytes : (2 * layer + which) * tensor;
      return range.address + BigInt(at);
    },
    slotStride,
    tokenStride,
    [Symbol.dispose]: () => range[Symbol.dispose](),
  };
}
