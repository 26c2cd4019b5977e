/** Whose fault stalls were, for the end summary of a run. */
import { type AttributionReport, type StallGroup, stallCauses } from "@millrace/bench";
import { formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import { formatWhole } from "../../ui/numbers.ts";
import type { Paint } from "../../ui/paint.ts";
import { table } from "../../ui/table.ts";
import { wrap } from "../../ui/width.ts";

const indent = 2;

/** The lines; none where the server told no times. */
export function attributionLines(
  attribution: AttributionReport | null,
  width: number,
  paint: Paint,
): readonly string[] {
  if (attribution === null) return [];
  const { first, later, clocks, joined, unjoined, attributedShare, remarks } = attribution;
  const number = (title: string) => ({ title, align: "right" as const });
  const cells = ({ causes, excessShares, stalls }: StallGroup, cause: keyof typeof causes) =>
    stalls === 0 ? ["-", "-"] : [formatWhole(causes[cause]), formatPercent(excessShares[cause])];
  const uncertainty = Math.max(...clocks.map(({ uncertaintyUs }) => uncertaintyUs), 0);
  const notes = [
    `${formatWhole(first.stalls)} late first tokens by ${formatSeconds(first.excessSeconds)} in all, ${formatWhole(later.stalls)} gaps over the target by ${formatSeconds(later.excessSeconds)}; ${formatPercent(attributedShare)} of that has a cause`,
    `times of ${formatWhole(joined)} answers joined${unjoined > 0 ? `, ${formatWhole(unjoined)} without` : ""}; the two clocks are known within ${formatSeconds(uncertainty / 1e6)}${clocks.some(({ driftPpm }) => driftPpm !== 0) ? `, drift ${clocks.map(({ driftPpm }) => formatNumber(driftPpm)).join(", ")} ppm` : ""}`,
    ...remarks,
  ];
  return [
    "",
    ...table(
      [
        { title: "stalls by cause", least: 12 },
        number("first tokens"),
        number("excess"),
        number("later tokens"),
        number("excess"),
      ],
      stallCauses.map((cause) => [cause, ...cells(first, cause), ...cells(later, cause)]),
      { width, paint, indent },
    ),
    ...notes.flatMap((note) =>
      wrap(note, Math.min(width, 100) - indent).map((line) =>
        paint("faint", `${" ".repeat(indent)}${line}`),
      ),
    ),
  ];
}
