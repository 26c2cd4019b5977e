/** `millrace extreme generate`: a made-up data set. */
import { existsSync, readdirSync } from "node:fs";
import { formatCount, formatNumber, MillraceError } from "@millrace/core";
import { generate } from "@millrace/extreme";
import type { Session } from "../../session.ts";

interface GenerateFlags {
  readonly labels?: number;
  readonly testPoints?: number;
  readonly seed?: number;
  readonly out?: string;
}

export async function extremeGenerateCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { labels = 131_072, testPoints = 10_000, seed = 1, out } = given as GenerateFlags;
  if (out === undefined)
    throw new MillraceError("USAGE", "no folder is named", { hint: "add --out DIR" });
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new MillraceError("USAGE", `${out} is not empty`, { hint: "name a new folder" });
  const progress = session.progress();
  const made = await session.interruptible((signal) =>
    generate({
      labels,
      testPoints,
      seed,
      out,
      signal,
      onProgress: (done, total) => progress.update({ phase: "points", done, total }),
    }),
  );
  progress.end();
  if (session.json) session.printJson({ ...made, out });
  else
    session.print([
      `${formatCount(made.labels)} labels, ${formatCount(made.points)} training points, ${formatCount(made.testPoints)} test points in ${out}`,
      `${formatNumber(made.labelsPerPoint)} labels a point, ${formatNumber(100 * made.singletons)} % of the labels with one point, at most ${formatCount(made.mostPoints)}`,
      `best possible: P@1 ${formatNumber(made.bayes.p1)} %, P@3 ${formatNumber(made.bayes.p3)} %, P@5 ${formatNumber(made.bayes.p5)} % (bayes.txt)`,
    ]);
  return 0;
}
