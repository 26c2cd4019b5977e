/** A calibration for the terminal. */
import { formatNumber, formatSeconds } from "@millrace/core";
import type { StepSpeed } from "@millrace/serving";
import { splitParts, type TimeSplit } from "@millrace/sim/twin";
import type { Paint } from "../ui/paint.ts";
import { facts, table } from "../ui/table.ts";
import { describeKnobs } from "./candidates.ts";
import type { CalibrateResult, FigureSummary } from "./result.ts";

const names: Readonly<Record<string, string>> = {
  ttft: "time to first token",
  tbt: "time between tokens",
  e2e: "end to end",
  requestsPerSecond: "requests per second",
  outputTokensPerSecond: "output tokens per second",
  "fluidity.index": "fluidity-index",
  "fluidity.shareAbove90": "requests at fluidity 0.9",
  "kv.peakPages": "KV page groups, most",
  "kv.meanPages": "KV page groups, mean",
  preemptions: "preemptions",
  steps: "steps",
};

/** `time to first token p90`. */
export function figureName(figure: string): string {
  const known = names[figure];
  if (known !== undefined) return known;
  const [metric = "", quantile = ""] = figure.split(".");
  return `${names[metric] ?? metric} ${quantile}`;
}

/** Lowest and highest; a dash where there is none. */
export function rangeText(
  low: number | null,
  high: number | null,
  unit: FigureSummary["unit"],
): string {
  return low === null || high === null
    ? "–"
    : `${figureText(low, unit)} – ${figureText(high, unit)}`;
}

export function figureText(value: number | null, unit: FigureSummary["unit"]): string {
  if (value === null) return "–";
  return unit === "s" ? formatSeconds(value) : formatNumber(value);
}

/** `+3.1 %`. */
export function errorText(error: number | null): string {
  if (error === null) return "–";
  return `${error >= 0 ? "+" : "−"}${Math.abs(100 * error).toFixed(1)} %`;
}

/** What is printed to stdout. */
export function calibrationLines(
  result: CalibrateResult,
  { paint, width }: { readonly paint: Paint; readonly width: number },
): readonly string[] {
  const { figures, runs } = result;
  const repeats = runs.length > 1;
  const bar = (error: number | null): string => {
    const text = errorText(error);
    return error === null ? text : paint(Math.abs(error) <= 0.09 ? "good" : "warning", text);
  };
  return [
    paint("strong", `${result.model} on ${result.machine}, ${result.threads} threads`),
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
    "",
    paint("strong", "where a request's time goes, mean"),
    ...splitLines(result, width, paint),
    "",
    ...facts(
      [
        [
          "step time",
          `${errorText(result.stepBias)} bias of the sum over ${formatNumber(runs.reduce((sum, run) => sum + (run.residuals[0]?.steps ?? 0), 0))} steps (${errorText(result.stepBiasAsProfiled)} at the profile's speed)`,
        ],
        [
          "decisions",
          result.decisionsEqual
            ? `${paint("good", "✓")} every step is decided by the simulator as by the engine`
            : `${paint("bad", "✗")} replayed decisions differ`,
        ],
        [
          "profile",
          `${result.profile.points} batches, held-out error p50 ${formatNumber(result.profile.heldOut.p50)} %`,
        ],
        ...machineFacts(result),
      ],
      { paint, indent: 2 },
    ),
    ...result.doubts.map((doubt) => `  ${paint("warning", "!")} ${doubt}`),
  ];
}

function splitLines(result: CalibrateResult, width: number, paint: Paint): readonly string[] {
  const mean = (side: "predicted" | "measured", part: keyof TimeSplit): number =>
    result.runs.reduce((sum, run) => sum + run.split[side][part], 0) / result.runs.length;
  const label: Readonly<Record<keyof TimeSplit, string>> = {
    arrival: "client, HTTP, tokenisation",
    queueing: "queueing",
    prefill: "steps to the first token",
    decode: "steps to the last token",
    delivery: "delivery",
  };
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
        label[part],
        formatSeconds(p),
        formatSeconds(m),
        `${difference < 0 ? "−" : "+"}${formatSeconds(Math.abs(difference))}`,
      ];
    }),
    { width, paint, indent: 2 },
  );
}

function machineFacts({ runs }: CalibrateResult): readonly (readonly [string, string])[] {
  const before = runs.map(({ machine }) => speedText(machine.before)).join(", ");
  const after = runs.map(({ machine }) => speedText(machine.after)).join(", ");
  const foreign = runs
    .map(({ machine }) => (machine.foreignCores === null ? "?" : machine.foreignCores.toFixed(2)))
    .join(", ");
  return [
    [
      "machine",
      `steps of another load took ${before} against the profile before the run, ${after} after it; other programs ${foreign} cores`,
    ],
  ];
}

/** `+1.2 %`: how much longer than profiled. */
function speedText(speed: StepSpeed | null): string {
  return errorText(speed === null ? null : speed.all.ratio - 1);
}

/** A rate given by hand may be one at which nothing keeps the promises. */
function loadText({ load }: CalibrateResult): string {
  return load === null
    ? "although no setting is predicted to keep the promises"
    : `${formatNumber(100 * load)} % of the predicted capacity`;
}
