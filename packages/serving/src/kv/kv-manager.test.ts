import { VattentionKv } from "../index.ts";
import { kvManagerConformance } from "./kv-manager.conformance.ts";
import { PagedKv } from "./paged.ts";
import { StaticKv } from "./static.ts";

kvManagerConformance(
  "PagedKv",
  24 * 4,
  (table) =>
    new PagedKv(table, { blocks: 24, blockTokens: 4, watermark: 0.1, pessimisticAppend: false }),
);
kvManagerConformance(
  "StaticKv",
  5 * 37,
  (table) => new StaticKv(table, { slots: 5, slotTokens: 37 }),
);
for (const deferredReclamation of [true, false]) {
  kvManagerConformance(
    `VattentionKv with ${deferredReclamation ? "deferred" : "immediate"} reclamation`,
    15 * 8,
    (table) =>
      new VattentionKv(table, {
        groups: 15,
        groupTokens: 8,
        slots: 6,
        slotTokens: 90,
        watermark: 0.1,
        deferredReclamation,
        eagerSteps: 10,
        eagerGroups: 2,
      }),
  );
}
