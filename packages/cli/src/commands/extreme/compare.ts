/** `millrace extreme compare`: all samplers on one data set. */
import { formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import {
  type ComparedTrainer,
  compareReport,
  compareTrainers,
  median,
  type PercentMetrics,
  readDataset,
  type TrainerName,
} from "@millrace/extreme";
import { renderReport } from "@millrace/report";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { type TrainFlags, trainOptionsOf } from "./train.ts";

interface CompareFlags extends Omit<TrainFlags, "seed"> {
  readonly trainers?: readonly TrainerName[];
  readonly seeds?: readonly number[];
}

export async function extremeCompareCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as CompareFlags;
  const { data, out, heldOut = 0, seeds = [1] } = flags;
  const names = flags.trainers ?? ["astra", "full", "stratified", "importance", "uniform", "hard"];
  if (data === undefined)
    throw new MillraceError("USAGE", "no data set is named", { hint: "add --data DIR" });
  const progress = session.progress();
  const comparison = await session.interruptible(async (signal) => {
    const dataset = await readDataset(data, {
      signal,
      trainOnly: heldOut > 0,
      ...(flags.features === undefined ? {} : { features: flags.features }),
    });
    if (heldOut === 0 && dataset.test === null)
      throw new MillraceError("DATASET_INVALID", `${data} has no test points`, {
        hint: "add --held-out 2000",
      });
    if (heldOut >= dataset.train.labels.rows)
      throw new MillraceError(
        "USAGE",
        `--held-out ${heldOut} leaves none of the ${dataset.train.labels.rows} points to train on`,
      );
    return compareTrainers(dataset, {
      trainers: names,
      seeds,
      heldOut,
      base: trainOptionsOf(flags, dataset),
      signal,
      onProgress: (done, total, what) =>
        progress.update({ phase: "comparing", done, total, note: what }),
    });
  });
  progress.end();
  if (out !== undefined)
    writeFileAtomic(
      out,
      renderReport(
        compareReport(comparison, `Samplers on ${data}`, {
          command: commandLine(),
          version,
        }),
      ),
    );
  if (session.json) session.printJson({ data, ...comparison });
  else {
    session.print(rows(comparison.trainers, session));
    if (out !== undefined) session.note(`\nwrote ${out}`);
  }
  return 0;
}

function rows(trainers: readonly ComparedTrainer[], session: Session): readonly string[] {
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  const metric = (t: ComparedTrainer, name: keyof PercentMetrics): string =>
    formatNumber(median(t.runs.map((run) => run.metrics[name])));
  return table(
    [
      { title: "trainer" },
      right("P@1 %"),
      right("P@3 %", 2),
      right("P@5 %"),
      right("PSP@1 %"),
      right("PSP@5 %", 2),
      right("pairs per point"),
      right("CPU"),
      right("of it refresh", 3),
      right("to 99 % of full", 1),
    ],
    trainers.map((t) => [
      t.trainer,
      ...(["p1", "p3", "p5", "psp1", "psp5"] as const).map((name) => metric(t, name)),
      formatNumber(t.pairsPerPoint),
      formatSeconds(median(t.runs.map((run) => run.cpuSeconds))),
      formatSeconds(median(t.runs.map((run) => run.refreshCpuSeconds))),
      t.secondsToFull === null ? "–" : formatSeconds(t.secondsToFull),
    ]),
    session,
  );
}
