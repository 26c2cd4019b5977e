/** A calibration as an HTML report: predicted against measured, request by request, and where the difference comes from. */
import {
  type Block,
  type KeyFigure,
  type ReportContext,
  type ReportDocument,
  type Row,
  type Section,
  scatterChart,
  type Verdict,
  writeNumber,
} from "@millrace/report";
import { splitParts } from "@millrace/sim/twin";
import { describeKnobs } from "./candidates.ts";
import type { CalibratedRun, CalibrateResult, FigureSummary } from "./result.ts";
import { meanStep, type StepParts, weightiestText } from "./step-parts.ts";
import {
  errorText,
  figureName,
  figureText,
  missingText,
  offText,
  partNames,
  rangeText,
} from "./words.ts";

/** Relative error up to which a figure counts as predicted (Vidur's own claim). */
const BAR = 0.09;

/** Of fewer no quantiles are told. */
const FEW_STEPS = 20;

export function calibrationReport(result: CalibrateResult, context: ReportContext): ReportDocument {
  const [first] = result.runs;
  const sections = [
    figuresSection(result),
    ...(first === undefined
      ? []
      : [requestsSection(first), splitSection(result), stepsSection(first, result)]),
    planSection(result),
    careSection(result),
  ].filter((section) => section !== null);
  const version =
    context.version === undefined ? [] : [{ label: "millrace", value: context.version }];
  return {
    kind: "Calibration",
    title: `${result.model} on this machine`,
    subtitle: `${describeKnobs(result.winner)}; ${writeNumber(result.rateQps, "number")} requests per second, ${result.workload}.`,
    ...(context.command === undefined ? {} : { command: context.command }),
    madeWith: [
      { label: "machine", value: result.machine },
      { label: "threads", value: String(result.threads) },
      {
        label: "requests",
        value: `${result.requests}${result.runs.length > 1 ? ` × ${result.runs.length}` : ""}`,
      },
      { label: "seed", value: String(result.seed) },
      ...version,
    ],
    verdict: verdictOf(result),
    sections,
    footnote:
      "Predicted figures rest on the profile and on how fast another load ran right before and after; nothing of the measured load goes into them. Measured figures are of a real server and client on this machine.",
    data: result,
  };
}

function verdictOf(result: CalibrateResult): Verdict {
  const errors = result.figures
    .filter(({ figure }) => /\.p(50|90)$|^e2e\.p99$/.test(figure))
    .flatMap(({ error }) => (error === null ? [] : [Math.abs(error)]));
  const worst = Math.max(...errors);
  const doubtful = result.doubts.length > 0;
  const decisions = result.decisionsEqual
    ? "Replayed through the simulator's replica, the engine's log gives every one of its decisions again: what differs is time alone."
    : "The replayed decisions differ from the engine's.";
  return {
    tone: worst <= BAR && !doubtful && result.decisionsEqual ? "good" : "warning",
    headline:
      errors.length === 0
        ? "There were too few requests to state a median or a quantile."
        : `The largest error of a median or 90th percentile is ${writeNumber(worst, "percent")}.`,
    detail: doubtful
      ? `${decisions} The measurement is doubtful, as told below: ${result.doubts[0]}.`
      : decisions,
    figures: [
      {
        label: "Step-time bias",
        value: errorText(result.stepBias),
        note: `${errorText(result.stepBiasAsProfiled)} at the profile's speed`,
      },
      ...["ttft.p90", "tbt.p90", "e2e.p90"].flatMap((name) => {
        const found = result.figures.find(({ figure }) => figure === name);
        return found === undefined ? [] : [keyFigure(found)];
      }),
    ],
  };
}

function keyFigure({ figure, predicted, measured, unit, error }: FigureSummary): KeyFigure {
  const name = figureName(figure);
  return {
    label: `${name.charAt(0).toUpperCase()}${name.slice(1)}`,
    value: errorText(error),
    note: `${figureText(predicted, unit)} predicted, ${figureText(measured, unit)} measured`,
  };
}

function figuresSection({ figures, runs }: CalibrateResult): Section {
  const repeats = runs.length > 1;
  const missing = missingText(figures);
  return {
    id: "figures",
    heading: "Predicted against measured",
    short: "Figures",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "figure", kind: "text" },
          { header: "predicted", kind: "text" },
          { header: repeats ? "measured, median" : "measured", kind: "text" },
          { header: "error", kind: "text" },
          { header: "predicted, lowest – highest", kind: "text" },
          ...(repeats ? [{ header: "measured, lowest – highest", kind: "text" as const }] : []),
          { header: "n", kind: "number", format: "whole" },
        ],
        rows: figures.map((f) => ({
          cells: [
            figureName(f.figure),
            figureText(f.predicted, f.unit),
            figureText(f.measured, f.unit),
            errorText(f.error),
            rangeText(f.predictedLow, f.predictedHigh, f.unit),
            ...(repeats ? [rangeText(f.low, f.high, f.unit)] : []),
            f.n,
          ],
        })),
        note: `Error: predicted over measured, less 1. Steps scatter: a prediction is the median of 21 draws. n: samples of the measured figure.${missing === null ? "" : ` ${missing}.`}`,
      },
    ],
  };
}

function requestsSection(run: CalibratedRun): Section {
  const chart = (title: string, pairs: readonly (readonly [number, number])[]) => ({
    title,
    svg: scatterChart({
      title,
      points: pairs.map(([predicted, measured]) => [measured, predicted] as const),
      x: { label: "measured", format: "seconds" },
      y: { label: "predicted", format: "seconds" },
      band: BAR,
    }),
  });
  const { ttft, e2e } = run.perRequest;
  return {
    id: "requests",
    heading: "Request by request",
    short: "Requests",
    blocks: [
      {
        kind: "prose",
        text: `Every dot is a request; the band is ${writeNumber(BAR, "percent")} around equality. Half of the requests are predicted within ${writeNumber(ttft ?? 0, "percent")} (time to first token) and ${writeNumber(e2e ?? 0, "percent")} (end to end).`,
      },
      {
        kind: "charts",
        columns: 2,
        charts: [
          chart("Time to first token", run.pairs.ttft),
          chart("End to end", run.pairs.e2e),
          chart("Time per output token", run.pairs.tpot),
        ],
      },
    ],
  };
}

function splitSection({ runs }: CalibrateResult): Section {
  const mean = (side: "predicted" | "measured", part: keyof typeof partNames): number =>
    runs.reduce((sum, run) => sum + run.split[side][part], 0) / runs.length;
  return {
    id: "split",
    heading: "Where the difference comes from",
    short: "Difference",
    blocks: [
      {
        kind: "table",
        caption: "Mean time of a request, by where it passes",
        columns: [
          { header: "where", kind: "text" },
          { header: "predicted", kind: "number", format: "seconds" },
          { header: "measured", kind: "number", format: "seconds" },
          { header: "difference", kind: "text" },
        ],
        rows: splitParts.map((part) => {
          const [p, m] = [mean("predicted", part), mean("measured", part)];
          return {
            cells: [partNames[part], p, m, differenceText(p - m)],
          };
        }),
        note: `The client started its requests ${runs.map((run) => writeNumber(run.startLateness, "seconds")).join(", ")} late or less, 99 times in 100.`,
      },
    ],
  };
}

/** `−4.6 ms`. */
function differenceText(seconds: number): string {
  return `${seconds < 0 ? "−" : "+"}${writeNumber(Math.abs(seconds), "seconds")}`;
}

/** What a mean step is made of: the kernels, and what the engine does between them. */
function meanStepTable({ compute, host, predicted }: StepParts): Block {
  return {
    kind: "table",
    caption: "A mean step",
    columns: [
      { header: "part", kind: "text" },
      { header: "in the profile's tight loop", kind: "number", format: "seconds" },
      { header: "predicted while serving", kind: "number", format: "seconds" },
      { header: "measured", kind: "number", format: "seconds" },
    ],
    rows: [
      { cells: ["computation", compute.tightLoop, null, compute.measured] },
      {
        cells: ["host: planning, page orders, sampling, messages", null, null, host.measured],
      },
      { cells: ["together", null, predicted, compute.measured + host.measured] },
    ],
    note: "Beside a server and a client the same computation takes longer than alone. What serving adds is learnt as one sum, host and slower computation together.",
  };
}

function stepsSection({ residuals }: CalibratedRun, { runs, stepBias }: CalibrateResult): Section {
  const step = meanStep(runs.map(({ stepParts }) => stepParts));
  const rows = (by: string): Row[] =>
    residuals
      .filter((group) => group.by === by)
      .map((g) => ({
        cells: [
          g.group,
          g.steps,
          g.share,
          errorText(g.bias),
          g.steps < FEW_STEPS ? "–" : `${errorText(g.p10)} … ${errorText(g.p90)}`,
          errorText(g.computeBias),
        ],
      }));
  const group = (by: string, caption: string): Block => ({
    kind: "table",
    caption,
    columns: [
      { header: by === "phase" ? "computed" : by, kind: "text" },
      { header: "steps", kind: "number", format: "whole" },
      { header: "of the time", kind: "number", format: "percent", bar: 1 },
      { header: "bias", kind: "text" },
      { header: "p10 … p90 of single steps", kind: "text" },
      { header: "bias of computation alone", kind: "text" },
    ],
    rows: rows(by),
  });
  return {
    id: "steps",
    heading: "Which steps are mispredicted",
    short: "Steps",
    blocks: [
      {
        kind: "prose",
        text: `The sum of ${writeNumber(step.steps, "whole")} steps is predicted ${offText(stepBias)}, ${weightiestText(residuals)}. Decodes give a token each; a chunk is a piece of a prompt; a step of decodes with other rows than the step before builds its graph anew.`,
      },
      ...(step.steps === 0 ? [] : [meanStepTable(step)]),
      group("phase", "By what the step computed"),
      {
        kind: "details",
        summary: "By rows, tokens and context",
        blocks: [
          group("rows", "By rows of the batch"),
          group("tokens", "By tokens of the batch"),
          group("context", "By mean context of the decodes"),
        ],
      },
    ],
  };
}

function planSection({ candidates, slo, serve }: CalibrateResult): Section {
  return {
    id: "plan",
    heading: "The plan for this machine",
    short: "Plan",
    blocks: [
      {
        kind: "prose",
        text: `Each setting's capacity is the highest predicted rate at which ${slo.map((s) => `${figureName(`${s.metric}.p${100 * s.quantile}`)} ≤ ${writeNumber(s.limitSeconds, "seconds")}`).join(" and ")}.`,
      },
      {
        kind: "table",
        columns: [
          { header: "setting", kind: "text" },
          { header: "capacity", kind: "number", format: "number", unit: "requests/s", bar: true },
          { header: "promise that breaks first", kind: "text" },
        ],
        rows: candidates.map(({ knobs, qps, limit }, i) => ({
          cells: [describeKnobs(knobs), qps, /\.p\d+$/.test(limit) ? figureName(limit) : limit],
          ...(i === 0 ? { emphasis: true } : {}),
        })),
      },
      { kind: "code", label: "serve it", text: serve },
    ],
  };
}

function careSection({ doubts }: CalibrateResult): Section | null {
  if (doubts.length === 0) return null;
  return {
    id: "care",
    heading: "What to be careful about",
    short: "Care",
    blocks: [{ kind: "callout", tone: "warning", title: "Read with care", items: doubts }],
  };
}
