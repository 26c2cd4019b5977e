/** Costs that a user measured on a device of their own: a CSV, with another cost model for what it lacks. */
import { MillraceError, parseCsv } from "@millrace/core";
import type { CostModel } from "../graph/library.ts";

/**
 * Reads `operator,direction,implementation,seconds`: operator is a name or a kind of operation, direction forward or
 * backward, implementation a name or empty for all. The most particular row counts. Throws MillraceError PROFILE_INVALID
 * with the place of the first row that cannot be used.
 */
export function csvCosts(text: string, file: string, otherwise: CostModel): CostModel {
  const csv = parseCsv(text, file, "PROFILE_INVALID");
  const columns = ["operator", "direction", "implementation", "seconds"].map((name) => {
    const at = csv.column(name);
    if (at < 0)
      throw new MillraceError("PROFILE_INVALID", `${file} has no column ${name}`, {
        at: { file, line: 1 },
        hint: "the header is operator,direction,implementation,seconds",
      });
    return at;
  });
  const [operator = 0, direction = 0, implementation = 0, seconds = 0] = columns;
  const times = new Map<string, number>();
  for (let row = 0; row < csv.rows; row++) {
    const time = csv.number(row, seconds);
    if (!(time >= 0) || !Number.isFinite(time))
      throw new MillraceError(
        "PROFILE_INVALID",
        `seconds: ${JSON.stringify(csv.text(row, seconds))} is not a time`,
        { at: csv.place(row, seconds) },
      );
    const way = csv.text(row, direction);
    if (way !== "forward" && way !== "backward")
      throw new MillraceError(
        "PROFILE_INVALID",
        `direction: ${JSON.stringify(way)} is neither forward nor backward`,
        { at: csv.place(row, direction) },
      );
    times.set([csv.text(row, operator), way, csv.text(row, implementation)].join("\0"), time);
  }
  return {
    name: `${file}, then ${otherwise.name}`,
    seconds: (graph, index, way, choice) => {
      const op = graph.operators[index];
      for (const name of [op?.name, op?.operation.kind])
        for (const of of [choice.name, ""]) {
          const time = times.get([name, way, of].join("\0"));
          if (time !== undefined) return time;
        }
      return otherwise.seconds(graph, index, way, choice);
    },
  };
}
