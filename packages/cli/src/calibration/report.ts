/** A calibration as an HTML report: predicted against measured, request by request, and where the difference comes from. */
import {
  type Block,
  type ReportContext,
  type ReportDocument,
  type Row,
  type Section,
  scatterChart,
  writeNumber,
} from "@millrace/report";
import { splitParts } from "@millrace/sim/twin";
import { describeKnobs } from "./candidates.ts";
import { errorText, figureName, figureText, rangeText } from "./lines.ts";
import type { CalibratedRun, CalibrateResult } from "./result.ts";

/** Relative error up to which a figure counts as predicted (Vidur's own claim). */
const BAR = 0.09;

export function calibrationReport(result: CalibrateResult, context: ReportContext): ReportDocument {
  const [first] = result.runs;
  const sections = [
    figuresSection(result),
    ...(first === undefined
      ? []
      : [requestsSection(first), splitSection(result), stepsSection(first)]),
    planSection(result),
    careSection(result),
  ].filter((section) => section !== null);
  const headline = result.figures.filter(({ figure }) => /\.p(50|90)$|^e2e\.p99$/.test(figure));
  const worst = Math.max(...headline.map(({ error }) => Math.abs(error ?? 0)));
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
      { label: "requests", value: `${result.requests} × ${result.runs.length}` },
      { label: "seed", value: String(result.seed) },
      ...version,
    ],
    verdict: {
      tone: worst <= BAR ? "good" : "warning",
      headline: `The largest error of a median or 90th percentile is ${writeNumber(worst, "percent")}.`,
      detail: result.decisionsEqual
        ? "Replayed through the simulator's replica, the engine's log gives every one of its decisions again: what differs is time alone."
        : "The replayed decisions differ from the engine's.",
      figures: [
        {
          label: "Step-time bias",
          value: errorText(result.stepBias),
          note: `${errorText(result.stepBiasAsProfiled)} at the profile's speed`,
        },
        ...["ttft.p90", "tbt.p90", "e2e.p90"].flatMap((name) => {
          const found = result.figures.find(({ figure }) => figure === name);
          return found === undefined
            ? []
            : [
                {
                  label: figureName(name),
                  value: errorText(found.error),
                  note: "predicted ÷ measured − 1",
                },
              ];
        }),
      ],
    },
    sections,
    footnote:
      "Predicted figures rest on the profile and on how fast another load ran right before and after; nothing of the measured load goes into them. Measured figures are of a real server and client on this machine.",
    data: result,
  };
}

function figuresSection({ figures, runs }: CalibrateResult): Section {
  const repeats = runs.length > 1;
  return {
    id: "figures",
    heading: "Predicted against measured",
    short: "Figures",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "", kind: "text" },
          { header: "predicted", kind: "text" },
          { header: "lowest – highest draw", kind: "text" },
          { header: repeats ? "measured, median" : "measured", kind: "text" },
          ...(repeats ? [{ header: "lowest – highest", kind: "text" as const }] : []),
          { header: "error", kind: "text" },
          { header: "n", kind: "number", format: "whole" },
        ],
        rows: figures.map((f) => ({
          cells: [
            figureName(f.figure),
            figureText(f.predicted, f.unit),
            rangeText(f.predictedLow, f.predictedHigh, f.unit),
            figureText(f.measured, f.unit),
            ...(repeats ? [rangeText(f.low, f.high, f.unit)] : []),
            errorText(f.error),
            f.n,
          ],
        })),
        note: "A quantile with fewer than ten samples beyond it is left out. Steps scatter: a prediction is the median of 21 draws.",
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

const partNames = {
  arrival: "client, HTTP, tokenisation",
  queueing: "queueing",
  prefill: "steps to the first token",
  decode: "steps to the last token",
  delivery: "delivery",
} as const;

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
          { header: "", kind: "text" },
          { header: "predicted", kind: "number", format: "seconds" },
          { header: "measured", kind: "number", format: "seconds" },
          { header: "difference", kind: "text" },
        ],
        rows: splitParts.map((part) => {
          const [p, m] = [mean("predicted", part), mean("measured", part)];
          return {
            cells: [
              partNames[part],
              p,
              m,
              `${p < m ? "−" : "+"}${writeNumber(Math.abs(p - m), "seconds")}`,
            ],
          };
        }),
      },
    ],
  };
}

function stepsSection({ residuals }: CalibratedRun): Section {
  const rows = (by: string): Row[] =>
    residuals
      .filter((group) => group.by === by)
      .map((g) => ({
        cells: [
          g.group,
          g.steps,
          g.share,
          errorText(g.bias),
          `${errorText(g.p10)} … ${errorText(g.p90)}`,
          errorText(g.computeBias),
        ],
      }));
  const group = (by: string, caption: string): Block => ({
    kind: "table",
    caption,
    columns: [
      { header: by, kind: "text" },
      { header: "steps", kind: "number", format: "whole" },
      { header: "of the time", kind: "number", format: "percent", bar: 1 },
      { header: "bias", kind: "text" },
      { header: "p10 … p90 of single steps", kind: "text" },
      { header: "bias of the tight loop alone", kind: "text" },
    ],
    rows: rows(by),
  });
  return {
    id: "steps",
    heading: "Which steps are mispredicted",
    short: "Steps",
    blocks: [
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
        text: `Each setting's capacity is the highest predicted rate at which ${slo.map((s) => `${s.metric} p${100 * s.quantile} ≤ ${writeNumber(s.limitSeconds, "seconds")}`).join(" and ")}.`,
      },
      {
        kind: "table",
        columns: [
          { header: "setting", kind: "text" },
          { header: "capacity", kind: "number", format: "number", unit: "requests/s", bar: true },
          { header: "limited by", kind: "text" },
        ],
        rows: candidates.map(({ knobs, qps, limit }, i) => ({
          cells: [describeKnobs(knobs), qps, limit],
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
