/** `millrace extreme estimate`: what a run will take, and whether that is true. */
import { formatBytes, formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import {
  type EstimateInput,
  estimate,
  measureRates,
  presetFor,
  presets,
  readDataset,
  Trainer,
  trainers,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { describeOptions, type TrainFlags, trainOptionsOf } from "./train.ts";

interface EstimateFlags extends TrainFlags {
  readonly labels?: number;
  readonly points?: number;
  readonly vocabulary?: number;
  readonly featuresPerPoint?: number;
  readonly labelsPerPoint?: number;
  readonly workers?: number;
  readonly check?: boolean;
}

export async function extremeEstimateCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as EstimateFlags;
  const { data, workers = 1, trainer = "astra", check = false } = flags;
  if (check && (data === undefined || workers > 1))
    throw new MillraceError("USAGE", "--check runs on this machine and needs --data");
  const dataset = data === undefined ? null : await readDataset(data, { trainOnly: true });
  const split = dataset?.train;
  const labels = split?.labels.cols ?? flags.labels;
  const points = split?.labels.rows ?? flags.points;
  if (labels === undefined || points === undefined)
    throw new MillraceError("USAGE", "name a data set, or --labels and --points");
  const options =
    dataset !== null
      ? trainOptionsOf(flags, dataset)
      : trainOptionsOf(
          { ...presets[presetFor(points, labels)], ...trainers[trainer], ...flags },
          {
            train: {
              features: none,
              labels: { ...none, rows: points, cols: labels },
              filter: null,
            },
            test: null,
            labelTexts: null,
            vectorizer: null,
          },
        );
  const rates = measureRates(options.dim);
  const input: EstimateInput = {
    options,
    points,
    labels,
    workers,
    rates,
    vocabulary: split?.features.cols ?? flags.vocabulary ?? 100_000,
    featuresPerPoint:
      split === undefined
        ? (flags.featuresPerPoint ?? 15)
        : split.features.indices.length / split.features.rows,
    labelsPerPoint:
      split === undefined
        ? (flags.labelsPerPoint ?? 2.3)
        : split.labels.indices.length / split.labels.rows,
  };
  const predicted = estimate(input);
  const measured = check && split !== undefined ? await measure(new Trainer(split, options)) : null;
  if (session.json)
    session.printJson({
      schema: "millrace.extreme-estimate/1",
      trainer,
      input,
      predicted,
      measured,
    });
  else {
    session.note(describeOptions(trainer, options));
    const seen = (value: number | undefined, write: (n: number) => string): string =>
      value === undefined ? "–" : write(value);
    const lines: [string, string, string][] = [
      [
        "pairs per point and epoch",
        formatNumber(predicted.pairsPerPoint),
        seen(measured?.pairsPerPoint, formatNumber),
      ],
      [
        "searched per point and refresh",
        formatNumber(predicted.scanPairsPerPoint),
        seen(measured?.scanPairsPerPoint, formatNumber),
      ],
      ["step", formatSeconds(predicted.stepSeconds), seen(measured?.stepSeconds, formatSeconds)],
      ["epoch", formatSeconds(predicted.epochSeconds), seen(measured?.epochSeconds, formatSeconds)],
      [
        "refresh",
        formatSeconds(predicted.refreshSeconds),
        seen(measured?.refreshSeconds, formatSeconds),
      ],
      [
        `all ${options.epochs} epochs and ${predicted.refreshes} refreshes`,
        formatSeconds(predicted.totalSeconds),
        "–",
      ],
      [
        workers === 1 ? "memory" : "memory a machine",
        formatBytes(predicted.peakBytes),
        seen(measured?.peakBytes, formatBytes),
      ],
      ["sent per machine and step", formatBytes(predicted.trafficBytesPerStep), "–"],
    ];
    session.print(
      table(
        [
          { title: "" },
          { title: "predicted", align: "right" },
          ...(measured === null ? [] : [{ title: "measured", align: "right" } as const]),
        ],
        lines.map((line) => (measured === null ? line.slice(0, 2) : line)),
        session,
      ),
    );
    session.note("\ntimes are of CPU, from kernel rates measured just now");
  }
  return 0;
}

const none = {
  rows: 0,
  cols: 0,
  indptr: new Int32Array(1),
  indices: new Int32Array(0),
  values: null,
};

/** Two epochs as they are: the first without a refresh, the second with one. */
async function measure(trainer: Trainer) {
  await trainer.runEpoch();
  const second = await trainer.runEpoch();
  return {
    pairsPerPoint: second.pairsPerPoint,
    scanPairsPerPoint: second.scanPairsPerPoint,
    stepSeconds: second.trainCpuSeconds / trainer.batches,
    epochSeconds: second.trainCpuSeconds,
    refreshSeconds: second.refreshCpuSeconds,
    peakBytes: trainer.model.heap.peak,
  };
}
