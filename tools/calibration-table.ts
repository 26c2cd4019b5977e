/**
 * Writes the table of docs/benchmarks.md from the runs that `bench/calibration.bench.ts` has kept: per case the median error
 * over its runs beside lowest and highest, and quantiles over the requests of all runs together where single runs have too
 * few. Runs that others disturbed are counted and left out. Words: files (default bench/results/calibration.jsonl).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { quantilesOf } from "@millrace/sim/twin";
import type { KeptRun } from "../bench/calibration-cases.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const given = process.argv.slice(2);
const files = given.length > 0 ? given : [join(root, "bench/results/calibration.jsonl")];
const runs = files.flatMap((file) =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as KeptRun),
);

const percent = (x: number): string => `${x < 0 ? "−" : "+"}${Math.abs(100 * x).toFixed(1)}`;

/** Median, and lowest and highest of several. */
function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const [low] = sorted;
  const high = sorted.at(-1);
  if (low === undefined || high === undefined) return "–";
  const half = sorted.length >> 1;
  const middle =
    sorted.length % 2 === 1
      ? (sorted[half] as number)
      : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2;
  return sorted.length === 1
    ? percent(middle)
    : `${percent(middle)} (${percent(low)} … ${percent(high)})`;
}

function errorsOf(own: readonly KeptRun[], figure: string): string {
  return spread(
    own.flatMap(({ figures }) => figures.find((f) => f.figure === figure)?.error ?? []),
  );
}

/** Error of a quantile over the requests of all runs together, where at least ten lie beyond it. */
function pooled(own: readonly KeptRun[], metric: "ttft" | "e2e"): string {
  const pairs = own.flatMap((run) => run[metric]);
  const p = quantilesOf(pairs.map(([predicted]) => predicted)).p99;
  const m = quantilesOf(pairs.map(([, measured]) => measured)).p99;
  return p === null || m === null ? "–" : percent(p / m - 1);
}

const columns: readonly (readonly [string, (own: readonly KeptRun[]) => string])[] = [
  [
    "runs, requests",
    (own) => `${own.length} × ${Math.round(sum(own, (r) => r.requests) / own.length)}`,
  ],
  ["step time", (own) => spread(own.map((r) => r.stepBias.now))],
  ["as profiled", (own) => spread(own.map((r) => r.stepBias.asProfiled))],
  ...["ttft.p50", "ttft.p90", "tbt.p50", "tbt.p90", "e2e.p50", "e2e.p90"].map(
    (figure) =>
      [
        figure.replace(".", " ").toUpperCase().replace("E2E", "e2e").replace("P", "p"),
        (own: readonly KeptRun[]) => errorsOf(own, figure),
      ] as const,
  ),
  ["e2e p99, all", (own) => pooled(own, "e2e")],
  ["TTFT p99, all", (own) => pooled(own, "ttft")],
  ["requests/s", (own) => errorsOf(own, "requestsPerSecond")],
  ["seeds", (own) => own.map((r) => r.seed).join(", ")],
];

const cases = [...new Set(runs.map((run) => run.case))];
const rows = cases.map((name) => {
  const all = runs.filter((run) => run.case === name);
  const own = all.filter(({ doubts }) => doubts.length === 0);
  const cells = own.length === 0 ? columns.map(() => "–") : columns.map(([, of]) => of(own));
  return `| ${[name, ...cells, String(all.length - own.length)].join(" | ")} |`;
});
const head = ["", ...columns.map(([title]) => title), "disturbed"];
const [first] = runs;
if (first === undefined) throw new Error("no runs are kept");
const dates = [...new Set(runs.map(({ date }) => date))].join(", ");
const equal = runs.every(({ decisionsEqual }) => decisionsEqual);
const table = [
  "<!-- runs calibration -->",
  `${first.model} on ${first.machine}, one thread; ${dates}; errors are predicted / measured − 1 in percent: median over the runs (lowest … highest). ${equal ? "Every decision of every run was replayed equal." : "NOT every decision was replayed equal."}`,
  "",
  `| ${head.join(" | ")} |`,
  `|${"---|".repeat(head.length)}`,
  ...rows,
  "<!-- /runs -->",
].join("\n");
const page = join(root, "docs/benchmarks.md");
const text = readFileSync(page, "utf8");
const marks = /<!-- runs calibration -->[\s\S]*?<!-- \/runs -->/;
if (given.length === 0 && marks.test(text))
  writeFileSync(
    page,
    text.replace(marks, () => table),
  );
console.log(table);

function sum(own: readonly KeptRun[], of: (run: KeptRun) => number): number {
  return own.reduce((total, run) => total + of(run), 0);
}
