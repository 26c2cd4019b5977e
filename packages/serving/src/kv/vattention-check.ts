/** The invariants of the vAttention policy: pages under every live token, and counts that agree with the places. */
import { invariant } from "@millrace/core";
import type { SeqTable } from "../join/seq-table.ts";
import type { PageFit } from "./page-fit.ts";
import type { PageGroups } from "./page-groups.ts";
import type { PrefixIndex } from "./prefix-index.ts";

/** What the policy holds; read only. */
export interface VattentionState {
  readonly table: SeqTable;
  readonly fit: PageFit;
  readonly index: PrefixIndex;
  readonly memory: PageGroups;
  /** Sequence of each slot, -1 = inactive, and the groups that its live tokens need. */
  readonly owner: Int32Array;
  readonly needed: Int32Array;
  /** Different groups that live tokens need. */
  readonly neededSum: number;
  readonly groups: number;
}

/** Throws InvariantError when something does not hold. O(slots × pages). */
export function checkVattention(state: VattentionState): void {
  const { table, fit, index, memory, owner, needed, neededSum, groups } = state;
  memory.checkIntegrity((phys) => index.runOf(phys) >= 0);
  const uses = new Map<number, number>();
  let sum = 0;
  for (let slot = 0; slot < owner.length; slot++) {
    const need = needed[slot]!;
    invariant(
      memory.mapped(slot) >= need,
      `slot ${slot} needs ${need} groups but has ${memory.mapped(slot)} mapped`,
    );
    const seq = owner[slot]!;
    invariant(seq >= 0 || need === 0, `inactive slot ${slot} counts ${need} groups`);
    for (let page = 0; page < memory.mapped(slot); page++) {
      const run = index.runOf(memory.at(slot, page));
      if (run < 0) {
        if (page < need) sum++;
        continue;
      }
      invariant(page < need, `slot ${slot} keeps page ${page} of a prefix that it does not need`);
      if (page % fit.runPages === 0) uses.set(run, (uses.get(run) ?? 0) + 1);
    }
    if (seq >= 0) {
      invariant(table.slot[seq] === slot, `slot ${slot} and sequence ${seq} disagree`);
      invariant(
        table.issued[seq]! <= fit.tokensIn(need),
        `sequence ${seq} computes beyond its mapped pages`,
      );
    }
  }
  index.forEach((run) => {
    const used = uses.get(run) ?? 0;
    invariant(
      index.usesOf(run) === used,
      `prefix run ${run} is used ${used} times, counted ${index.usesOf(run)}`,
    );
    if (used > 0) sum += fit.runPages;
  });
  invariant(sum === neededSum, `needed groups: counted ${sum}, kept ${neededSum}`);
  invariant(sum <= groups, "more groups are needed than exist");
}
