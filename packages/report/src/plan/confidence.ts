/** How far the answer can be trusted: what would change it, and what the model leaves out. */
import type { Block, Section } from "../document.ts";
import { writeInterval } from "../format.ts";
import type { PlanFindings } from "./input.ts";
import { stepTimesOff } from "./names.ts";

/** Sensitivity, robustness and the terms that are missing; null when there is no winner and nothing to warn of. */
export function confidenceSection(result: PlanFindings): Section | null {
  const { best, sensitivity, robust, notModelled } = result;
  const blocks: Block[] = [];
  if (best !== null) {
    const off = stepTimesOff(robust.errorPercent);
    blocks.push({
      kind: "callout",
      tone: robust.sameWinner ? "good" : "warning",
      title: robust.sameWinner
        ? `The winner stays the winner if step times are ${off}`
        : `Another could win if step times are ${off}`,
      items: [
        ...(robust.capacityQps === null
          ? []
          : [
              `A replica then carries ${writeInterval(robust.capacityQps.low, robust.capacityQps.high)} requests per second`,
            ]),
        ...robust.rivals.map((r) => `${robust.sameWinner ? "Closest rival" : "Rival"}: ${r}`),
      ],
    });
  }
  if (sensitivity.length > 0)
    blocks.push({
      kind: "table",
      caption: "If something were different",
      columns: [
        { header: "Change", kind: "text" },
        { header: "Winner", kind: "text" },
        { header: "Cost an hour", kind: "number", format: "dollars", bar: true },
        { header: "Same winner", kind: "check" },
      ],
      rows: sensitivity.map((s) => ({
        cells: [s.change, s.winner, s.dollarsPerHour, s.sameWinner],
      })),
    });
  if (best !== null && best.unfitted.length > 0)
    blocks.push({
      kind: "callout",
      tone: "warning",
      title: "Predicted from the device's data sheet, not fitted to measurements",
      items: best.unfitted,
    });
  if (notModelled.length > 0)
    blocks.push({ kind: "callout", tone: "neutral", title: "Not modelled", items: notModelled });
  if (blocks.length === 0) return null;
  return { id: "confidence", heading: "How sure is this", short: "Confidence", blocks };
}
