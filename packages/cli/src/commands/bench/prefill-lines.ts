/** A prefill curve for people: the table, the picture, what to trust. */
import { type PrefillReport, prefillSeconds, REACH } from "@millrace/bench";
import { formatPercent, formatSeconds } from "@millrace/core";
import { formatWhole } from "../../ui/numbers.ts";
import { type Paint, unpainted } from "../../ui/paint.ts";
import { braillePlot } from "../../ui/plot.ts";
import { facts, table } from "../../ui/table.ts";
import { wrap } from "../../ui/width.ts";

const indent = 2;
const picture = { cells: 56, lines: 10 };

export interface LinesOptions {
  readonly width: number;
  readonly paint?: Paint;
}

export function prefillLines(
  report: PrefillReport,
  { width, paint = unpainted }: LinesOptions,
): readonly string[] {
  const { endpoint, lengths, seed, statistic, verdict, reasons, cautions } = report;
  const n = lengths.reduce((sum, length) => sum + length.repeats.length, 0);
  const say = (text: string): readonly string[] =>
    wrap(text, Math.min(width, 100) - indent).map((line) => `${" ".repeat(indent)}${line}`);
  return [
    `${paint("strong", endpoint.model)} at ${paint("strong", endpoint.url)}`,
    paint("faint", `time to first token, ${statistic} of n = ${n} requests, seed ${seed}`),
    ...(verdict === "VALID"
      ? []
      : [
          "",
          paint("bad", "INVALID: do not trust this curve as the server's"),
          ...reasons.flatMap(say),
        ]),
    "",
    ...lengthTable(report, width, paint),
    "",
    ...plot(report),
    "",
    ...facts(factsOf(report), { paint, indent }),
    ...cautions.flatMap((caution) => ["", ...say(`${paint("warning", "!")} ${caution}`)]),
  ];
}

function lengthTable(
  { lengths, band, outliers }: PrefillReport,
  width: number,
  paint: Paint,
): readonly string[] {
  const number = (title: string, drop?: number) => ({
    title,
    align: "right" as const,
    ...(drop !== undefined && { drop }),
  });
  const rows = lengths.map((length) => {
    const { promptTokens, repeats, seconds, fittedSeconds, heldOutError } = length;
    const at = band.find((b) => b.promptTokens === promptTokens);
    const odd = outliers.filter((o) => o.promptTokens === promptTokens).length;
    return [
      formatWhole(promptTokens),
      formatSeconds(seconds),
      formatSeconds(Math.max(...repeats)),
      formatSeconds(fittedSeconds),
      at === undefined ? "" : `${formatSeconds(at.low)} … ${formatSeconds(at.high)}`,
      signed(heldOutError),
      odd === 0 ? "" : String(odd),
    ];
  });
  return table(
    [
      number("prompt tokens"),
      number("measured"),
      number("slowest", 3),
      number("curve"),
      number("90% band", 2),
      number("from the others"),
      number("outliers", 1),
    ],
    rows,
    { width, paint, indent },
  );
}

function signed(share: number): string {
  if (Number.isNaN(share)) return "–";
  return `${share < 0 ? "-" : "+"}${(100 * Math.abs(share)).toFixed(1)}%`;
}

/** Measured lengths as dots on the curve, both axes logarithmic. */
function plot({ curve, lengths }: PrefillReport): readonly string[] {
  const [low, high] = [curve.minTokens, curve.maxTokens];
  const steps = 2 * picture.cells;
  const line = Array.from({ length: steps + 1 }, (_, i) => {
    const n = low * (high / low) ** (i / steps);
    return [n, prefillSeconds(curve, Math.min(n, high))] as const;
  });
  const all = lengths.flatMap(({ promptTokens, repeats }) =>
    repeats.map((seconds) => [promptTokens, seconds] as const),
  );
  const times = [...line, ...all].map(([, seconds]) => seconds);
  return braillePlot(
    [
      { kind: "line", points: line },
      { kind: "points", points: all },
    ],
    {
      ...picture,
      x: { low, high, log: true, format: (n) => `${formatWhole(Math.round(n))} tokens` },
      y: { low: Math.min(...times), high: Math.max(...times), log: true, format: formatSeconds },
    },
  );
}

function factsOf({ curve, heldOut, drift }: PrefillReport): (readonly [string, string])[] {
  const { constant, linear, quadratic, maxTokens } = curve;
  const percent = (share: number): string =>
    Number.isNaN(share) ? "not known" : formatPercent(share);
  return [
    [
      "curve",
      `${formatSeconds(constant)} + ${formatSeconds(linear)} per token + ${formatSeconds(quadratic * 1e6)} per square of a thousand tokens`,
    ],
    ["answers", `up to ${formatWhole(Math.floor(REACH * maxTokens))} tokens`],
    ["off, between lengths", `at most ${percent(heldOut.between)} when a length is left out`],
    ["off, at the ends", `at most ${percent(heldOut.ends)}`],
    ["drift", `${signed(drift)} from the first repeats to the last`],
  ];
}
