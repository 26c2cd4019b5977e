/** The report of a measured prefill curve: the curve among its repeats, how far it can be trusted, every length. */
import {
  type Block,
  lineChart,
  type ReportContext,
  type ReportDocument,
  type Section,
  writeInterval,
  writeNumber,
} from "@millrace/report";
import { prefillSeconds, REACH } from "../prefill/curve.ts";
import type { PrefillReport } from "../prefill/report.ts";

/** Points of the drawn curve. */
const STEPS = 60;

export interface PrefillDocumentInput {
  readonly report: PrefillReport;
  readonly context?: ReportContext;
}

const percent = (share: number): string => writeNumber(share, "percent");
const seconds = (value: number): string => writeNumber(value, "seconds");

/** Writes the document. */
export function prefillDocument({ report, context = {} }: PrefillDocumentInput): ReportDocument {
  const { endpoint, lengths, statistic, verdict, reasons, cautions, curve, heldOut } = report;
  const n = lengths.reduce((sum, { repeats }) => sum + repeats.length, 0);
  const valid = verdict === "VALID";
  return {
    kind: "Prefill curve",
    title: `${endpoint.model}: time to first token by prompt length`,
    subtitle: `${endpoint.model} at ${endpoint.url}; ${writeNumber(n, "whole")} requests over ${writeNumber(lengths.length, "whole")} lengths, one at a time.`,
    ...(context.command !== undefined && { command: context.command }),
    madeWith: [
      ...(context.version === undefined ? [] : [{ label: "Millrace", value: context.version }]),
      { label: "measured", value: report.measuredAt },
      { label: "seed", value: report.seed },
      ...(report.tokenizer === null ? [] : [{ label: "tokenizer", value: report.tokenizer }]),
      ...(context.facts ?? []),
    ],
    verdict: {
      tone: !valid || cautions.length > 0 ? "warning" : "good",
      headline: !valid
        ? "The client was at fault: do not take this curve for the server's."
        : `Between lengths the curve is off by at most ${percent(heldOut.between)}.`,
      detail: `${valid ? "" : `${reasons.join(" ")} `}The ${statistic} of the repeats stands for a length; each length was also predicted from the others alone.`,
      figures: [
        { label: "constant", value: seconds(curve.constant), note: "of every request" },
        { label: "per thousand tokens", value: seconds(1000 * curve.linear) },
        {
          label: "per square of a thousand",
          value: seconds(1e6 * curve.quadratic),
          note: "attention over the prompt",
        },
        { label: "off at the ends", value: percent(heldOut.ends), note: "when one is left out" },
        {
          label: "answers up to",
          value: writeNumber(Math.floor(REACH * curve.maxTokens), "whole"),
          unit: "tokens",
        },
        { label: "drift", value: percent(report.drift), note: "first repeats to last" },
      ],
    },
    sections: [curveSection(report), trustSection(report), lengthSection(report)],
    footnote: "Times are measured at the client.",
    data: report,
  };
}

/** The band between the lengths at which it is known: its distance from the curve, as a share, over log n. */
function bandAt(
  { band }: PrefillReport,
  fitted: (n: number) => number,
  n: number,
): { readonly low?: number; readonly high?: number } {
  const right = band.findIndex(({ promptTokens }) => promptTokens >= n);
  const b = band[right];
  if (b === undefined) return {};
  const a = band[Math.max(0, right - 1)] ?? b;
  const span = Math.log(b.promptTokens / a.promptTokens);
  const share = span > 0 ? Math.log(n / a.promptTokens) / span : 1;
  const mixed = (of: "low" | "high"): number => {
    const [from, to] = [a[of] / fitted(a.promptTokens), b[of] / fitted(b.promptTokens)];
    return fitted(n) * (from + share * (to - from));
  };
  return { low: mixed("low"), high: mixed("high") };
}

function curveSection(report: PrefillReport): Section {
  const { curve, lengths, cautions } = report;
  const fitted = (n: number): number => prefillSeconds(curve, n, { beyond: "extend" });
  const reach = REACH * curve.maxTokens;
  const points = Array.from({ length: STEPS + 1 }, (_, i) => {
    const x = curve.minTokens * (reach / curve.minTokens) ** (i / STEPS);
    return { x, y: fitted(x), ...bandAt(report, fitted, x) };
  });
  const repeats = lengths.flatMap(({ promptTokens, repeats: times }) =>
    times.map((y) => ({ x: promptTokens, y })),
  );
  const standing = lengths.map(({ promptTokens, seconds: y }) => ({ x: promptTokens, y }));
  const callout: Block[] =
    cautions.length === 0
      ? []
      : [{ kind: "callout", tone: "warning", title: "Know before using it", items: cautions }];
  return {
    id: "curve",
    heading: "The curve",
    short: "Curve",
    blocks: [
      ...callout,
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Time to first token by prompt length",
            caption: "both axes logarithmic; the band holds 90 % of curves of resampled repeats",
            svg: lineChart({
              title: "Time to first token by prompt length, with the fitted curve",
              width: 880,
              series: [
                { name: "curve", points },
                { name: "repeats", points: repeats, dots: true },
                { name: `${report.statistic} of a length`, points: standing, dots: true },
              ],
              x: { label: "prompt tokens", format: "whole", log: true },
              y: { label: "time to first token", format: "seconds", log: true },
            }),
          },
        ],
      },
    ],
  };
}

function trustSection({ lengths, heldOut }: PrefillReport): Section {
  const left = lengths
    .filter(({ heldOutError }) => Number.isFinite(heldOutError))
    .map(({ promptTokens, heldOutError }) => ({ x: promptTokens, y: heldOutError }));
  const spread = lengths.flatMap(({ promptTokens, repeats, fittedSeconds }) =>
    repeats.map((time) => ({ x: promptTokens, y: time / fittedSeconds - 1 })),
  );
  const axes = (label: string) => ({
    x: { label: "prompt tokens", format: "whole", log: true } as const,
    y: { label, format: "percent" } as const,
  });
  return {
    id: "trust",
    heading: "How far it can be trusted",
    short: "Trust",
    blocks: [
      {
        kind: "prose",
        text: `Each length predicted by a curve through the others: off by at most ${percent(heldOut.between)} between lengths and ${percent(heldOut.ends)} at the two ends, where the curve had to reach out.`,
      },
      {
        kind: "charts",
        columns: 2,
        charts: [
          {
            title: "Predicted from the others",
            caption: "prediction / measured - 1",
            svg: lineChart({
              title: "Error of each length when it is left out",
              series: [{ name: "left out", points: left }],
              ...axes("off by"),
            }),
          },
          {
            title: "Repeats against the curve",
            caption: "repeat / curve - 1",
            svg: lineChart({
              title: "Residuals of all repeats",
              series: [{ name: "repeat", points: spread, dots: true }],
              ...axes("off by"),
            }),
          },
        ],
      },
    ],
  };
}

function lengthSection({ lengths, band, outliers }: PrefillReport): Section {
  return {
    id: "lengths",
    heading: "Every length",
    short: "Lengths",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "prompt tokens", kind: "number", format: "whole" },
          { header: "repeats", kind: "number", format: "whole" },
          { header: "measured", kind: "number", format: "seconds" },
          { header: "slowest", kind: "number", format: "seconds" },
          { header: "curve", kind: "number", format: "seconds" },
          { header: "90 % band", kind: "text" },
          { header: "from the others", kind: "number", format: "percent" },
          { header: "outliers", kind: "number", format: "whole" },
        ],
        rows: lengths.map((length) => {
          const { promptTokens, repeats } = length;
          const at = band.find((point) => point.promptTokens === promptTokens);
          return {
            cells: [
              promptTokens,
              repeats.length,
              length.seconds,
              Math.max(...repeats),
              length.fittedSeconds,
              at === undefined ? null : writeInterval(at.low, at.high, "seconds"),
              length.heldOutError,
              outliers.filter((one) => one.promptTokens === promptTokens).length,
            ],
          };
        }),
      },
    ],
  };
}
