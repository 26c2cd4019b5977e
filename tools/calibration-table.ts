/**
 * Writes the tables of docs/benchmarks.md and docs/papers/03-sarathi-serve.md from the runs that `bench/calibration.bench.ts` and `scheduler-capacity.bench.ts`
 * have kept under bench/results: per case the median error over its runs beside lowest and highest, and quantiles over the
 * requests of all runs together where single runs have too few. Runs beside other programs are counted and left out; runs
 * before and after which the machine was not equally fast are counted and kept.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { quantilesOf } from "@millrace/sim/twin";
import type { KeptCapacity, KeptRun } from "../bench/calibration-cases.ts";
import type { FoundRate } from "../packages/cli/src/calibration/crossing.ts";
import { disturbed } from "../packages/cli/src/calibration/machine.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

function kept<T>(name: string): readonly T[] {
  const file = join(root, "bench/results", `${name}.jsonl`);
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

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

/** Half of the distance from lowest to highest measured value, against their middle: what the machine alone makes of equal loads. */
function repeatSpread(own: readonly KeptRun[], figure: string): string {
  const values = own.flatMap(
    ({ figures }) => figures.find((f) => f.figure === figure)?.measured ?? [],
  );
  if (values.length < 2) return "–";
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `±${((100 * (high - low)) / (high + low)).toFixed(1)}`;
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
  [
    "spread of measured TTFT p90, TBT p90, e2e p90",
    (own) =>
      ["ttft.p90", "tbt.p90", "e2e.p90"].map((figure) => repeatSpread(own, figure)).join(", "),
  ],
  ["seed", (own) => [...new Set(own.map((r) => r.seed))].join(", ")],
];

/** Of several runs those of the last method, and the others. */
function byMethod<T extends { readonly method?: number }>(all: readonly T[]) {
  const last = Math.max(0, ...all.map(({ method }) => method ?? 0));
  const older = all.filter(({ method }) => (method ?? 0) !== last);
  return { last, runs: all.filter(({ method }) => (method ?? 0) === last), older };
}

function calibrationTable(all: readonly KeptRun[]): readonly string[] {
  const { last, runs, older } = byMethod(all);
  const [first] = runs;
  if (first === undefined) return [];
  const rows = [...new Set(runs.map((run) => run.case))].map((name) => {
    const all = runs.filter((run) => run.case === name);
    const own = all.filter((run) => !disturbed(run));
    const cells = own.length === 0 ? columns.map(() => "–") : columns.map(([, of]) => of(own));
    const drifted = own.filter(({ doubts }) => doubts.length > 0).length;
    return [name, ...cells, String(all.length - own.length), String(drifted)];
  });
  const dates = [...new Set(runs.map(({ date }) => date))].join(", ");
  const equal = runs.every(({ decisionsEqual }) => decisionsEqual);
  const models = [...new Set(runs.map(({ model }) => model))].join("; ");
  return [
    `${models}, on ${first.machine}, one thread; ${dates}; errors are predicted / measured − 1 in percent: median over the runs (lowest … highest). ${equal ? "Every decision of every run was replayed equal." : "NOT every decision was replayed equal."} Method: decision ${last}; ${older.length} runs made with older ones are kept in the file and not in the table.`,
    "",
    ...markdown(["", ...columns.map(([title]) => title), "disturbed", "drifted"], rows),
  ];
}

function capacityTable(all: readonly KeptCapacity[]): readonly string[] {
  const [first] = all;
  if (first === undefined) return [];
  const { last, runs: newest, older } = byMethod(all);
  const runs = [...newest, ...older];
  const rate = ({ qps, bound }: FoundRate): string =>
    `${bound === null ? "" : `${bound} `}${qps.toFixed(2)}`;
  const errorOf = (run: KeptCapacity): readonly number[] =>
    run.measuredQps.bound === null ? [run.predictedQps / run.measuredQps.qps - 1] : [];
  const rows = runs.map((run) => [
    run.scheduler,
    run.predictedQps.toFixed(2),
    rate(run.measuredQps),
    ...[percent(errorOf(run)[0] ?? Number.NaN)].map((text) => (text.endsWith("NaN") ? "–" : text)),
    run.asProfiledQps.toFixed(2),
    run.limit,
    run.probes
      .map((p) => `${p.rateQps.toFixed(2)}: ${p.predicted.toFixed(2)} / ${p.pressure.toFixed(2)}`)
      .join(", "),
    run.probes.map((p) => percent(p.stepBias)).join(", "),
    String(run.requests),
    String(run.seed),
    String(run.method ?? "older"),
    run.probes.some((p) => p.disturbed) ? "disturbed" : "",
  ]);
  const summary = (some: readonly KeptCapacity[]): string =>
    [...new Set(some.map(({ scheduler }) => scheduler))]
      .map((name) => {
        const own = some.filter(
          ({ scheduler, probes }) => scheduler === name && !probes.some((p) => p.disturbed),
        );
        return `${name} ${spread(own.flatMap(errorOf))}`;
      })
      .join("; ");
  return [
    `${first.model} on ${first.machine}, one thread; ${[...new Set(runs.map(({ date }) => date))].join(", ")}; requests per second under \`${first.slo}\`; pressure is the worst promised figure over its limit. Error, median (lowest … highest) over undisturbed runs of the method of decision ${last}: ${summary(newest)} %${older.length === 0 ? "" : `; of older methods: ${summary(older)} %`}.`,
    "",
    ...markdown(
      [
        "scheduler",
        "predicted",
        "measured",
        "error, %",
        "predicted at the profile's speed",
        "limited by",
        "rates tried: pressure predicted / measured",
        "step time, %",
        "requests",
        "seed",
        "method",
        "",
      ],
      rows,
    ),
  ];
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

for (const [name, lines, pages] of [
  ["calibration", calibrationTable(kept("calibration")), ["docs/benchmarks.md"]],
  [
    "scheduler-capacity",
    capacityTable(kept("scheduler-capacity")),
    ["docs/benchmarks.md", "docs/papers/03-sarathi-serve.md"],
  ],
] as const) {
  if (lines.length === 0) continue;
  const table = [`<!-- runs ${name} -->`, ...lines, "<!-- /runs -->"].join("\n");
  const marks = new RegExp(`<!-- runs ${name} -->[\\s\\S]*?<!-- /runs -->`);
  for (const file of pages) {
    const page = join(root, file);
    const text = readFileSync(page, "utf8");
    if (!marks.test(text)) throw new Error(`${file} has no marks for ${name}`);
    writeFileSync(
      page,
      text.replace(marks, () => table),
    );
  }
  console.log(table);
}

function sum(own: readonly KeptRun[], of: (run: KeptRun) => number): number {
  return own.reduce((total, run) => total + of(run), 0);
}
