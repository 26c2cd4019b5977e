/** `millrace extreme train`: a model from a data set. */
import { formatCount, formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import {
  type Dataset,
  defaultTrainOptions,
  type PercentMetrics,
  type Preset,
  presetFor,
  presets,
  type RunEpoch,
  type RunResult,
  readDataset,
  type TrainerName,
  type TrainOptions,
  trainers,
  trainModel,
  trainOptionNames,
  withLabelTexts,
} from "@millrace/extreme";
import { type ProgressReports, underLease } from "../../cluster/job-lease.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

export interface TrainFlags extends Partial<Omit<TrainOptions, "batch" | "group" | "sampler">> {
  readonly data?: string;
  readonly out?: string;
  readonly trainer?: TrainerName;
  readonly preset?: Preset;
  readonly heldOut?: number;
  readonly patience?: number;
  readonly features?: "text" | "files" | "vectors";
  readonly resume?: boolean;
  readonly test?: boolean;
  readonly labelTexts?: boolean;
}

/** Settings: what flags say, over the trainer's recipe, over the preset for the size of the data. */
export function trainOptionsOf(flags: TrainFlags, dataset: Dataset): TrainOptions {
  const given = Object.fromEntries(
    Object.entries(flags).filter(([name]) => trainOptionNames.includes(name)),
  );
  return {
    ...defaultTrainOptions,
    ...presets[flags.preset ?? presetFor(dataset.train.labels.rows, dataset.train.labels.cols)],
    ...trainers[flags.trainer ?? "astra"],
    ...given,
    ...(flags.features === "vectors"
      ? { encoder: "frozen" as const, dim: dataset.train.features.cols }
      : {}),
  };
}

/** One line that says what a trainer does with these settings. */
export function describeOptions(name: string, o: TrainOptions): string {
  const hard =
    o.rescore > 0
      ? `the best ${o.rescore} of a shortlist of ${o.shortlist}, scored afresh`
      : `${o.shortlist} of the shortlist`;
  const uniform = `${o.uniform} uniform labels per ${o.group} points (weight exponent ${o.alpha})`;
  const refresh = `refreshed every ${o.refreshEvery} epochs`;
  const parts = {
    full: "every label, exactly",
    uniform,
    hard: `hard labels: ${hard} (weight ${o.hardWeight}), ${refresh}`,
    stratified: `hard labels: ${hard} (weight ${o.hardWeight}), ${refresh}; ${uniform}`,
    importance: `hard labels drawn by stale score: ${o.hardDraws} of ${o.shortlist}, ${refresh}; ${uniform}`,
  }[o.sampler];
  return `${name}: ${parts}; ${o.dim} dimensions, ${o.epochs} epochs, learning rates ${o.lrClassifier} and ${o.lrEncoder}, dropout ${o.dropout}, seed ${o.seed}`;
}

export async function extremeTrainCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as TrainFlags;
  const { data, out, heldOut = 0, patience = 0, resume = false, trainer = "astra" } = flags;
  if (data === undefined)
    throw new MillraceError("USAGE", "no data set is named", {
      hint: "add --data DIR, a folder in a form of the Extreme Classification Repository",
    });
  if (out === undefined)
    throw new MillraceError("USAGE", "no folder is named for the model", {
      hint: `add --out, e.g. millrace extreme train --data ${data} --out model`,
    });
  if (patience > 0 && heldOut === 0)
    throw new MillraceError("USAGE", "--patience needs points to watch", {
      hint: "add --held-out 1000",
    });
  const progress = session.progress();
  const train = async (signal: AbortSignal, reports: ProgressReports) => {
    progress.update({ phase: "reading", done: 0, total: 0, note: data });
    const dataset = await readDataset(data, {
      signal,
      trainOnly: flags.test === false,
      ...(flags.features === undefined ? {} : { features: flags.features }),
    });
    const { train } = dataset;
    if (heldOut >= train.labels.rows)
      throw new MillraceError(
        "USAGE",
        `--held-out ${heldOut} leaves none of the ${train.labels.rows} points to train on`,
      );
    const options = trainOptionsOf(flags, dataset);
    session.note(
      `${formatCount(train.labels.rows)} points, ${formatCount(train.labels.cols)} labels, ${formatCount(train.features.cols)} features`,
    );
    session.note(describeOptions(trainer, options));
    const source = flags.labelTexts === true ? withLabelTexts(dataset) : dataset;
    const lease = leaseReports(reports, source.train.labels.rows - heldOut, options.batch, out);
    const result = await trainModel(source, {
      train: options,
      heldOut,
      patience,
      out,
      resume,
      signal,
      onProgress: ({ epoch, phase, done, total, last }) => {
        lease.at(epoch, phase === "train" ? done : 0);
        progress.update({
          phase: `epoch ${epoch}/${options.epochs} ${phase}`,
          done,
          total,
          ...(last === null ? {} : { note: noteOf(last) }),
        });
      },
    });
    lease.at(result.epochs.length + 1, 0, result.resumedFrom + 1);
    progress.update({ phase: "testing", done: 0, total: 0 });
    return { dataset, options, result };
  };
  const { dataset, options, result } = await session.interruptible((signal) =>
    underLease(signal, train),
  );
  const metrics = dataset.test === null ? null : result.measure(dataset.test);
  progress.end();
  const trainSeconds = result.epochs.reduce((sum, e) => sum + e.seconds, 0);
  if (session.json)
    session.printJson({
      schema: "millrace.extreme-train/1",
      data,
      out,
      trainer,
      options,
      resumedFrom: result.resumedFrom,
      stoppedEarly: result.stoppedEarly,
      epochs: result.epochs,
      metrics,
      heldOut: result.heldOut,
      trainSeconds,
      trainCpuSeconds: cpuSeconds(result.epochs),
    });
  else printRun(session, out, result, metrics, trainSeconds);
  return 0;
}

/** Tells a scheduler's lease of steps and points, and of the snapshot that every epoch ends with. */
function leaseReports(reports: ProgressReports, points: number, batch: number, out: string) {
  const steps = Math.ceil(points / batch);
  // What a run that is resumed had done before is no work of this one.
  let first: number | null = null;
  let saved = 0;
  return {
    /** `done` batches of an epoch are done, and all of the epochs before it; the run began with `began`, or now. */
    at(epoch: number, done: number, began = epoch): void {
      first ??= began;
      if (saved < epoch - 1) reports.saved((epoch - 1) * steps, out);
      saved = epoch - 1;
      const seen = (epoch - first) * points + Math.min(done * batch, points);
      if (seen > 0) reports.worked((epoch - 1) * steps + done, seen);
    },
  };
}

const cpuSeconds = (epochs: readonly RunEpoch[]): number =>
  epochs.reduce((sum, e) => sum + e.trainCpuSeconds + e.refreshCpuSeconds, 0);

function noteOf(epoch: RunEpoch): string {
  const seen = epoch.heldOutPrecision;
  return `loss ${formatNumber(epoch.loss)}${seen === null ? "" : `, P@1 ${percent(seen)}`}`;
}

function printRun(
  session: Session,
  out: string,
  { epochs, stoppedEarly }: RunResult,
  metrics: PercentMetrics | null,
  trainSeconds: number,
): void {
  session.print(epochTable(epochs, session));
  if (metrics !== null)
    session.print([
      "",
      `test  P@1 ${formatNumber(metrics.p1)}  P@3 ${formatNumber(metrics.p3)}  P@5 ${formatNumber(metrics.p5)}  PSP@1 ${formatNumber(metrics.psp1)}  PSP@5 ${formatNumber(metrics.psp5)} %`,
    ]);
  session.note(
    `${stoppedEarly ? "stopped early; " : ""}${formatSeconds(trainSeconds)}, ${formatSeconds(cpuSeconds(epochs))} of CPU; the model is in ${out}`,
  );
}

const percent = (share: number): string => formatNumber(100 * share);

function epochTable(epochs: readonly RunEpoch[], session: Session): readonly string[] {
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  return table(
    [
      right("epoch"),
      right("loss"),
      right("pairs per point", 4),
      right("scanned", 2),
      right("fresh %", 3),
      right("mass %", 3),
      right("seconds"),
      right("CPU train", 5),
      right("CPU refresh", 5),
      right("P@1 held out", 1),
    ],
    epochs.map((e) => [
      String(e.epoch),
      formatNumber(e.loss),
      formatNumber(e.pairsPerPoint),
      e.scanPairsPerPoint === 0 ? "–" : formatCount(Math.round(e.scanPairsPerPoint)),
      e.fresh === null ? "–" : percent(e.fresh),
      e.coverage === null ? "–" : percent(e.coverage),
      formatSeconds(e.seconds),
      formatSeconds(e.trainCpuSeconds),
      formatSeconds(e.refreshCpuSeconds),
      e.heldOutPrecision === null ? "–" : percent(e.heldOutPrecision),
    ]),
    session,
  );
}
