/** What was ruled out, grouped by reason, with the whole list folded away. */
import type { Block, Section } from "../document.ts";
import type { PlanFindings } from "./input.ts";
import { configName, hardwareName, setupName } from "./names.ts";

/** Longest list that is printed; the rest is counted. The embedded data has them all. */
const LISTED = 400;

/** Counts by reason and the list; null when nothing was ruled out. */
export function rejectedSection({ rejected, nearestMiss }: PlanFindings): Section | null {
  if (rejected.length === 0) return null;
  const counts = new Map<string, number>();
  for (const r of rejected)
    counts.set(reasonKind(r.reason), (counts.get(reasonKind(r.reason)) ?? 0) + 1);
  const common = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const blocks: Block[] = [];
  if (nearestMiss !== null)
    blocks.push({
      kind: "callout",
      tone: "neutral",
      title: "Nearest miss",
      items: [`${configName(nearestMiss.config)} — ${nearestMiss.reason}`],
    });
  blocks.push({
    kind: "table",
    caption: `${rejected.length} configurations by reason`,
    columns: [
      { header: "Reason", kind: "text" },
      { header: "Configurations", kind: "number", format: "whole", bar: true },
    ],
    rows: common.slice(0, 12).map(([reason, count]) => ({ cells: [reason, count] })),
    ...(common.length > 12 ? { note: `${common.length - 12} rarer reasons are in the list.` } : {}),
  });
  const listed = rejected.slice(0, LISTED);
  blocks.push({
    kind: "details",
    summary: "The whole list",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Configuration", kind: "text" },
          { header: "Reason", kind: "text" },
        ],
        rows: listed.map((r) => ({
          cells: [{ text: hardwareName(r.config), note: setupName(r.config) }, r.reason],
        })),
        ...(rejected.length > LISTED
          ? { note: `${rejected.length - LISTED} more are in the embedded data.` }
          : {}),
      },
    ],
  });
  return { id: "rejected", heading: "What was ruled out, and why", short: "Ruled out", blocks };
}

/** Reasons that differ in their figures alone are one. */
function reasonKind(reason: string): string {
  return reason.replace(/\d[\d.,]*/g, "N");
}
