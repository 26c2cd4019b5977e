/** A calibration for the terminal. */
import { formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import type { StepSpeed } from "@millrace/serving";
import { splitParts, type TimeSplit } from "@millrace/sim/twin";
import type { Paint } from "../ui/paint.ts";
import { facts, table } from "../ui/table.ts";
import { describeKnobs } from "./candidates.ts";
import type { CalibratedRun, CalibrateResult } from "./result.ts";
import { meanStep, meanStepText, type StepParts, weightiestText } from "./step-parts.ts";
import {
  errorText,
  figureName,
  figureText,
  missingText,
  offText,
  partNames,
  rangeText,
} from "./words.ts";

/** What is printed to stdout. */
export function calibrationLines(
  result: CalibrateResult,
  { paint, width }: { readonly paint: Paint; readonly width: number },
): readonly string[] {
  const { figures, runs } = result;
  const repeats = runs.length > 1;
  const step = meanStep(runs.map(({ stepParts }) => stepParts));
  const missing = missingText(figures);
  const bar = (error: number | null): string => {
    const text = errorText(error);
    return error === null ? text : paint(Math.abs(error) <= 0.09 ? "good" : "warning", text);
  };
  return [
    paint(
      "strong",
      `${result.model} on ${result.machine}, ${result.threads} thread${result.threads === 1 ? "" : "s"}`,
    ),
    ...facts(
      [
        ["serves", describeKnobs(result.winner)],
        [
          "load",
          `${formatNumber(result.rateQps)} requests/s, ${loadText(result)}; ${result.workload}`,
        ],
        [
          "promises",
          result.slo
            .map((s) => `${s.metric}.p${100 * s.quantile} ≤ ${formatSeconds(s.limitSeconds)}`)
            .join(", "),
        ],
        [
          "measured",
          `n = ${result.requests} requests${repeats ? ` × ${runs.length} runs` : ""}, seed ${result.seed}`,
        ],
      ],
      { paint, indent: 2 },
    ),
    "",
    ...table(
      [
        { title: "", least: 20 },
        { title: "predicted", align: "right" },
        { title: repeats ? "measured (median)" : "measured", align: "right" },
        ...(repeats ? [{ title: "spread", align: "right" as const, drop: 1 }] : []),
        { title: "error", align: "right" },
        { title: "n", align: "right", drop: 2 },
      ],
      figures.map((f) => [
        figureName(f.figure),
        figureText(f.predicted, f.unit),
        figureText(f.measured, f.unit),
        ...(repeats ? [rangeText(f.low, f.high, f.unit)] : []),
        bar(f.error),
        String(f.n),
      ]),
      { width, paint, indent: 2 },
    ),
    ...(missing === null ? [] : [paint("faint", `  ${missing}`)]),
    "",
    paint("strong", "where a request's time goes, mean"),
    ...splitLines(result, width, paint),
    "",
    ...facts(
      [
        ["step time", stepText(result, step)],
        ["", weightiestText(runs[0]?.residuals ?? [])],
        ["a mean step", meanStepText(step)],
        [
          "decisions",
          result.decisionsEqual
            ? `${paint("good", "✓")} every step is decided by the simulator as by the engine`
            : `${paint("bad", "✗")} replayed decisions differ`,
        ],
        [
          "profile",
          `${result.profile.points} batches, held-out error p50 ${formatPercent(result.profile.heldOut.p50 / 100)}`,
        ],
        ...machineFacts(result),
      ],
      { paint, indent: 2 },
    ),
    ...result.doubts.map((doubt) => `  ${paint("warning", "!")} ${doubt}`),
  ];
}

function stepText({ stepBias, stepBiasAsProfiled }: CalibrateResult, { steps }: StepParts): string {
  const asProfiled = `${offText(stepBiasAsProfiled)} at the profile's speed`;
  return `predicted ${offText(stepBias)} over ${formatNumber(steps)} steps (${asProfiled})`;
}

function splitLines(result: CalibrateResult, width: number, paint: Paint): readonly string[] {
  const mean = (side: "predicted" | "measured", part: keyof TimeSplit): number =>
    result.runs.reduce((sum, run) => sum + run.split[side][part], 0) / result.runs.length;
  return table(
    [
      { title: "", least: 16 },
      { title: "predicted", align: "right" },
      { title: "measured", align: "right" },
      { title: "difference", align: "right" },
    ],
    splitParts.map((part) => {
      const [p, m] = [mean("predicted", part), mean("measured", part)];
      const difference = p - m;
      return [
        partNames[part],
        formatSeconds(p),
        formatSeconds(m),
        `${difference < 0 ? "−" : "+"}${formatSeconds(Math.abs(difference))}`,
      ];
    }),
    { width, paint, indent: 2 },
  );
}

function machineFacts({ runs }: CalibrateResult): readonly (readonly [string, string])[] {
  const each = (of: (run: CalibratedRun) => string): string => runs.map(of).join(", ");
  const speeds = (part: "before" | "after"): string =>
    each(({ machine }) => speedText(machine[part]));
  const foreign = each(({ machine }) => machine.foreignCores?.toFixed(2) ?? "?");
  return [
    [
      "machine",
      `step times of another load against the profile: ${speeds("before")} before the run, ${speeds("after")} after it`,
    ],
    ["", `other programs kept ${foreign} cores busy`],
    ["client", `requests started ${each((run) => formatSeconds(run.startLateness))} late (p99)`],
  ];
}

/** `+1.2%`: how much longer than profiled. */
function speedText(speed: StepSpeed | null): string {
  return speed === null ? "not known" : errorText(speed.all.ratio - 1);
}

/** A rate given by hand may be one at which nothing keeps the promises. */
function loadText({ load }: CalibrateResult): string {
  return load === null
    ? "although no setting is predicted to keep the promises"
    : `${formatPercent(load)} of the predicted capacity`;
}
