/** The end of a measured run for people: verdict, promises, latencies, what went wrong and how good the client was. */
import type { BenchReport, LatencyMs, SloOutcome } from "@millrace/bench";
import { formatCount, formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import { formatWhole } from "../../ui/numbers.ts";
import { type Paint, unpainted } from "../../ui/paint.ts";
import { facts, table } from "../../ui/table.ts";
import { pad, widthOf, wrap } from "../../ui/width.ts";
import { attributionLines } from "./attribution-lines.ts";
import { serverFacts } from "./server-lines.ts";

const indent = 2;

export interface LinesOptions {
  readonly width: number;
  readonly paint?: Paint;
}

/** The lines of the summary. */
export function runLines(
  report: BenchReport,
  { width, paint = unpainted }: LinesOptions,
): readonly string[] {
  return [
    ...heading(report, paint),
    ...verdictLines(report, width, paint),
    ...sloLines(report.slo, paint),
    "",
    ...latencyLines(report, width, paint),
    "",
    ...facts(factsOf(report), { paint, indent }),
    ...attributionLines(report.attribution, width, paint),
    ...groupLines(report, width, paint),
    ...errorLines(report, width, paint),
    ...careLines(report, width, paint),
  ];
}

const ms = (value: number): string => (Number.isNaN(value) ? "-" : formatSeconds(value / 1000));

function heading({ endpoint, label, requests, seed, end }: BenchReport, paint: Paint): string[] {
  const named = label === "" ? "" : `${label}: `;
  const cut = end === "complete" ? "" : ` (ended early: ${end})`;
  return [
    `${named}${paint("strong", endpoint.model)} at ${paint("strong", endpoint.url)}${cut}`,
    paint(
      "faint",
      `n = ${formatWhole(requests.sent)} requests sent of ${formatWhole(requests.scheduled)}, ${formatWhole(requests.warmup)} before the clock, seed ${seed}`,
    ),
  ];
}

function verdictLines({ verdict, reasons }: BenchReport, width: number, paint: Paint): string[] {
  if (verdict === "VALID") return [];
  return [
    "",
    paint("bad", "INVALID: do not trust these figures as the server's"),
    ...reasons.flatMap((reason) =>
      wrap(reason, Math.min(width, 100) - indent).map((line) => `${" ".repeat(indent)}${line}`),
    ),
  ];
}

const shown: Readonly<Record<SloOutcome["unit"], (value: number) => string>> = {
  ms,
  share: (value) => formatPercent(value),
  "per-second": (value) => formatNumber(value),
};

function sloLines(slo: readonly SloOutcome[], paint: Paint): readonly string[] {
  if (slo.length === 0) return [];
  const names = Math.max(...slo.map(({ term }) => widthOf(term)));
  return [
    "",
    ...slo.map(({ term, value, unit, met }) => {
      const mark = met ? paint("good", "✓") : paint("bad", "✗");
      const text = shown[unit](value);
      return `${" ".repeat(indent)}${mark} ${pad(term, names, "left")}  ${met ? text : paint("bad", text)}`;
    }),
  ];
}

function latencyLines({ latencyMs }: BenchReport, width: number, paint: Paint): readonly string[] {
  const row = (name: string, latency: LatencyMs): string[] => [
    name,
    ...[latency.mean, latency.p50, latency.p90, latency.p99, latency.max].map(ms),
    formatWhole(latency.n),
  ];
  const number = (title: string, drop?: number) => ({
    title,
    align: "right" as const,
    ...(drop !== undefined && { drop }),
  });
  const { ttft, ttfc, tbt, chunkGap, tpot, e2e } = latencyMs;
  return table(
    [
      { title: "", least: 12 },
      number("mean", 2),
      number("p50"),
      number("p90"),
      number("p99"),
      number("max"),
      number("n", 1),
    ],
    [
      row("time to first token", ttft.scheduled),
      // From the real start only where it differs: otherwise the same row twice.
      ...(differ(ttft) ? [row("  from its real start", ttft.started)] : []),
      ...(ttfc.scheduled.n > 0 && ttfc.scheduled.p50 > ttft.scheduled.p50 * 1.01
        ? [row("time to first content", ttfc.scheduled)]
        : []),
      row("time between tokens", tbt),
      ...(chunkGap.n < tbt.n * 0.9 ? [row("time between chunks", chunkGap)] : []),
      row("time per output token", tpot),
      row("end to end", e2e.scheduled),
      ...(differ(e2e) ? [row("  from its real start", e2e.started)] : []),
    ],
    { width, paint, indent },
  );
}

function differ({ scheduled, started }: BenchReport["latencyMs"]["ttft"]): boolean {
  return scheduled.p99 > started.p99 * 1.02 + 1;
}

function factsOf(report: BenchReport): readonly (readonly [string, string])[] {
  const { requests, throughput, fluidity, goodput, tokens, self, slo } = report;
  const { targets } = fluidity;
  const deadline =
    targets.ttft.type === "constant"
      ? formatSeconds(targets.ttft.us / 1e6)
      : `by prompt length + ${formatSeconds(targets.ttft.slackUs / 1e6)}`;
  const outcome = [
    `${formatWhole(requests.ok)} ok`,
    ...(["failed", "refused", "abandoned"] as const)
      .filter((key) => requests[key] > 0)
      .map((key) => `${formatWhole(requests[key])} ${key}`),
  ].join(", ");
  const rates = Number.isFinite(throughput.offeredQps)
    ? `; ${formatNumber(throughput.sentQps)}/s sent of ${formatNumber(throughput.offeredQps)}/s asked for`
    : "";
  const pairs: (readonly [string, string])[] = [
    ["requests", `${outcome}${rates}`],
    [
      "throughput",
      `${formatNumber(throughput.requestsPerSecond)} requests/s, ${formatCount(throughput.outputTokensPerSecond)} output tokens/s over ${formatSeconds(throughput.seconds)}`,
    ],
    [
      "fluidity-index",
      `${fluidity.index.toFixed(4)}; ${formatPercent(fluidity.shareAbove90)} of requests at 0.9 or more; ${formatPercent(fluidity.onTimeShare)} of tokens on time (TTFT ${deadline}, TBT ${formatSeconds(targets.tbtUs / 1e6)})`,
    ],
    [
      "fluid rate",
      fluidity.fluidTokenRate > 0
        ? `${formatNumber(fluidity.fluidTokenRate)} tokens/s that 99 % of requests keep at fluidity 0.9`
        : "none: more than 1 % of the requests failed",
    ],
  ];
  if (slo.length > 0)
    pairs.push([
      "goodput",
      `${formatNumber(goodput.requestsPerSecond)} requests/s, ${formatPercent(goodput.share)} of requests within every limit`,
    ]);
  pairs.push(["tokens", tokenText(tokens)], ...serverFacts(report));
  if (self !== null)
    pairs.push([
      "client",
      `${report.verdict}: canary ${ms(self.canary.p50 / 1e3)} / ${ms(self.canary.p99 / 1e3)} late (p50 / p99), started ${ms(self.startLateness.p99 / 1e3)} late (p99), ${formatNumber(self.textChunksPerRead)} chunks a read, ${formatNumber(self.cores)} cores in ${self.workers.length} process${self.workers.length === 1 ? "" : "es"}`,
    ]);
  return pairs;
}

const sourceNames: Readonly<Record<string, string>> = {
  "server-times": "the server's times of every token",
  ids: "token ids in the chunks",
  logprobs: "logprobs of the chunks",
  "continuous-usage": "usage in every chunk",
  tokenizer: "the tokenizer",
  usage: "the server's total, spread by characters",
  chunks: "chunks taken for tokens (nothing better; give --tokenizer)",
  none: "nothing: there was no text",
};

function tokenText({
  sources,
  compared,
  differ: unequal,
  largestDifference,
}: BenchReport["tokens"]): string {
  const named = Object.entries(sources)
    .sort(([, a], [, b]) => b - a)
    .map(
      ([source, n], _, all) => `${sourceNames[source] ?? source}${all.length > 1 ? ` (${n})` : ""}`,
    );
  const check =
    compared === 0
      ? ""
      : unequal === 0
        ? `; equal to the server's usage in all ${formatWhole(compared)}`
        : `; ${formatWhole(unequal)} of ${formatWhole(compared)} differ from the server's usage, by up to ${largestDifference}`;
  return named.length === 0 ? "none" : `counted from ${named.join(", ")}${check}`;
}

function groupLines(
  { stages, classes }: BenchReport,
  width: number,
  paint: Paint,
): readonly string[] {
  const groups = [...stages, ...classes];
  if (groups.length === 0) return [];
  const number = (title: string) => ({ title, align: "right" as const });
  return [
    "",
    ...table(
      [
        { title: "" },
        ...["requests", "failed", "TTFT p50", "TTFT p99", "TBT p99", "fluidity"].map(number),
      ],
      groups.map(({ name, requests, failed, ttftMs, tbtMs, fluidity }) => [
        name,
        formatWhole(requests),
        formatWhole(failed),
        ms(ttftMs.p50),
        ms(ttftMs.p99),
        ms(tbtMs.p99),
        fluidity.toFixed(3),
      ]),
      { width, paint, indent },
    ),
  ];
}

function errorLines({ errors }: BenchReport, width: number, paint: Paint): readonly string[] {
  if (errors.length === 0) return [];
  const cells = Math.min(width, 100) - indent - 2;
  return [
    "",
    ...errors.flatMap((error) => [
      `${" ".repeat(indent)}${paint("bad", `${formatWhole(error.count)} × ${error.class}`)}: ${error.meaning}`,
      ...wrap(`${error.example}`, cells).map((line) =>
        paint("faint", `${" ".repeat(indent + 2)}${line}`),
      ),
      ...wrap(error.advice, cells).map((line) => `${" ".repeat(indent + 2)}${line}`),
    ]),
  ];
}

const warningTexts: Readonly<Record<string, string>> = {
  "no-done": "ended without [DONE]",
  "data-keep-alive": "had keep-alives sent as data",
  "short-length": "ended for length before the length that was asked for",
  "early-stop": "stopped before the asked length although ignore_eos was sent",
  "over-length": "brought more tokens than asked for",
  "no-usage": "brought no usage although it was asked for",
  "usage-disagrees": "have a token count other than the server's",
  "prompt-disagrees": "have prompts of another length at the server",
  "unterminated-event": "ended in the middle of an event",
  "bad-utf8": "had invalid UTF-8",
  "data-after-done": "went on after [DONE]",
};

function careLines(report: BenchReport, width: number, paint: Paint): readonly string[] {
  const remarks = Object.entries(report.warnings).map(
    ([name, n]) => `${formatWhole(n)} answers ${warningTexts[name] ?? name}`,
  );
  if (report.pacedShare > 0.5)
    remarks.push(
      `${formatPercent(report.pacedShare)} of the answers have gaps that are all alike: the server or a gateway paces its output`,
    );
  if (report.server?.remark != null) remarks.push(report.server.remark);
  if (remarks.length === 0) return [];
  const cells = Math.min(width, 100) - indent - 2;
  return [
    "",
    ...remarks.flatMap((remark) =>
      wrap(remark, cells).map(
        (line, i) => `${" ".repeat(indent)}${i === 0 ? paint("warning", "!") : " "} ${line}`,
      ),
    ),
  ];
}
