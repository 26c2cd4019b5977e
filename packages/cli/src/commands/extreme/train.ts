/** `millrace extreme train`: a model from a data set. */
import { formatCount, formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import {
  defaultTrainOptions,
  type Preset,
  presets,
  type RunEpoch,
  readDataset,
  type TrainOptions,
  trainModel,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

interface TrainFlags extends Partial<Omit<TrainOptions, "batch" | "group" | "alpha">> {
  readonly out?: string;
  readonly preset?: Preset;
  readonly heldOut?: number;
  readonly patience?: number;
  readonly fromText?: boolean;
  readonly resume?: boolean;
}

function optionsOf(flags: TrainFlags): TrainOptions {
  const { out, preset = "fast", heldOut, patience, fromText, resume, ...own } = flags;
  const names = Object.keys(defaultTrainOptions);
  const given = Object.fromEntries(Object.entries(own).filter(([name]) => names.includes(name)));
  return { ...defaultTrainOptions, ...presets[preset], ...given };
}

export async function extremeTrainCommand(
  session: Session,
  data: string,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as TrainFlags;
  const { out, heldOut = 0, patience = 0, resume = false } = flags;
  if (out === undefined)
    throw new MillraceError("USAGE", "no folder is named for the model", {
      hint: `add --out, e.g. millrace extreme train ${data} --out model`,
    });
  if (patience > 0 && heldOut === 0)
    throw new MillraceError("USAGE", "--patience needs points to watch", {
      hint: "add --held-out 1000",
    });
  const options = optionsOf(flags);
  const progress = session.progress();
  const result = await session.interruptible(async (signal) => {
    progress.update({ phase: "reading", done: 0, total: 0, note: data });
    const dataset = await readDataset(data, {
      trainOnly: true,
      signal,
      fromText: flags.fromText === true,
    });
    const { train } = dataset;
    if (heldOut >= train.labels.rows)
      throw new MillraceError(
        "USAGE",
        `--held-out ${heldOut} leaves none of the ${train.labels.rows} points to train on`,
      );
    session.note(
      `${formatCount(train.labels.rows)} points, ${formatCount(train.labels.cols)} labels, ${formatCount(train.features.cols)} features; ${options.sampler}, ${options.dim} dimensions, ${options.epochs} epochs, seed ${options.seed}`,
    );
    return trainModel(dataset, {
      train: options,
      heldOut,
      patience,
      out,
      resume,
      signal,
      onProgress: ({ epoch, phase, done, total, heldOutPrecision }) =>
        progress.update({
          phase: `epoch ${epoch}/${options.epochs} ${phase}`,
          done,
          total,
          ...(heldOutPrecision === null ? {} : { note: `P@1 ${percent(heldOutPrecision)}` }),
        }),
    });
  });
  progress.end();
  const { epochs, resumedFrom, stoppedEarly } = result;
  if (session.json)
    session.printJson({
      schema: "millrace.extreme-train/1",
      data,
      out,
      options,
      resumedFrom,
      stoppedEarly,
      epochs,
    });
  else {
    session.print(epochTable(epochs, session));
    const seconds = epochs.reduce((sum, e) => sum + e.trainCpuSeconds + e.refreshCpuSeconds, 0);
    session.note(
      `${stoppedEarly ? "stopped early; " : ""}${formatSeconds(seconds)} of CPU; the model is in ${out}`,
    );
  }
  return 0;
}

const percent = (share: number): string => formatNumber(100 * share);

function epochTable(epochs: readonly RunEpoch[], session: Session): readonly string[] {
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  return table(
    [
      right("epoch"),
      right("pairs per point"),
      right("scanned", 2),
      right("kept %", 3),
      right("CPU train"),
      right("CPU refresh"),
      right("P@1 held out", 1),
    ],
    epochs.map((e) => [
      String(e.epoch),
      formatNumber(e.pairsPerPoint),
      e.scanPairsPerPoint === 0 ? "–" : formatCount(e.scanPairsPerPoint),
      e.kept === null ? "–" : percent(e.kept),
      formatSeconds(e.trainCpuSeconds),
      formatSeconds(e.refreshCpuSeconds),
      e.heldOutPrecision === null ? "–" : percent(e.heldOutPrecision),
    ]),
    session,
  );
}
