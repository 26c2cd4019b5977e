/** `millrace reproduce`: a paper's figures beside ours. */
import { join } from "node:path";
import {
  formatNumber,
  MillraceError,
  type Reproduce,
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
  sideBySide,
  suggestion,
} from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { errorText } from "../calibration/words.ts";
import { commandLine } from "../command-line.ts";
import { version } from "../program/version.ts";
import type { Session } from "../session.ts";
import { formatWhole } from "../ui/numbers.ts";
import { table } from "../ui/table.ts";
import { wrap } from "../ui/width.ts";

/** A paper: its title, and the module whose export runs its experiments. */
interface Paper {
  readonly title: string;
  readonly load: () => Promise<Reproduce>;
}

const papers: ReadonlyMap<string, Paper> = new Map([
  [
    "vidur",
    {
      title: "Vidur (MLSys 2024): simulation and configuration search",
      load: async () => (await import("@millrace/sim/reproduce")).reproduceVidur,
    },
  ],
  [
    "sarathi",
    {
      title: "SARATHI (2023): chunked prefill and decode-maximal batching",
      load: async () =>
        withMeasured(
          (await import("@millrace/sim/reproduce")).reproduceSarathi,
          (await import("@millrace/engine/reproduce")).measureSarathi,
        ),
    },
  ],
  [
    "sarathi-serve",
    {
      title: "Sarathi-Serve (OSDI 2024): capacity under a TBT limit",
      load: async () =>
        withMeasured(
          (await import("@millrace/sim/reproduce")).reproduceSarathiServe,
          (await import("@millrace/engine/reproduce")).measureSarathiServe,
          (await import("../calibration/reproduce-capacity.ts")).measureCapacities,
        ),
    },
  ],
  [
    "vattention",
    {
      title: "vAttention (ASPLOS 2025): KV cache in contiguous virtual memory",
      load: async () => (await import("@millrace/engine/reproduce")).reproduceVattention,
    },
  ],
  [
    "monet",
    {
      title: "MONeT (ICLR 2021): memory optimization for deep networks",
      load: async () => (await import("@millrace/remat/reproduce")).reproduceMonet,
    },
  ],
  [
    "metron",
    {
      title: "Metron (2024): what users of a streaming service feel",
      load: async () => (await import("@millrace/bench/reproduce")).reproduceMetron,
    },
  ],
  [
    "astra",
    {
      title: "ASTRA (2024): extreme classification that trains in sub-linear time",
      load: async () => (await import("@millrace/extreme/reproduce")).reproduceAstra,
    },
  ],
  [
    "coordl",
    {
      title: "CoorDL and DS-Analyzer (VLDB 2021): training without data stalls",
      load: async () => (await import("@millrace/data/experiments")).reproduceCoordl,
    },
  ],
  [
    "synergy",
    {
      title: "Synergy (OSDI 2022): sharing a cluster by what jobs really need",
      load: async () => (await import("@millrace/cluster/reproduce")).reproduceSynergy,
    },
  ],
]);

/** The simulated experiments of a paper, then those on the engine of this machine. */
function withMeasured(
  simulate: Reproduce,
  ...measured: readonly ((options: ReproduceOptions) => Promise<readonly ReproduceRow[]>)[]
): Reproduce {
  return async (options) => {
    const simulated = await simulate(options);
    const rows = [...simulated.rows];
    for (const measure of measured) rows.push(...(await measure(options)));
    return { ...simulated, rows };
  };
}

interface ReproduceFlags {
  readonly quick?: boolean;
  readonly out?: string;
  readonly data?: string;
  readonly seed?: number;
  readonly kept?: boolean;
}

export async function reproduceCommand(
  session: Session,
  name: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  if (name === undefined) return list(session);
  const paper = papers.get(name);
  if (paper === undefined)
    throw new MillraceError("USAGE", `no reproduction is called ${name}`, {
      hint: suggestion(name, papers.keys()) ?? `there are ${[...papers.keys()].join(", ")}`,
    });
  const { quick = false, seed = 42, out, data, kept = false } = given as ReproduceFlags;
  if (kept && (name !== "astra" || out === undefined))
    throw new MillraceError("USAGE", "--kept: only astra keeps its runs, in --out", {
      hint: "millrace reproduce astra --kept --out DIR",
    });
  if (data !== undefined && name !== "astra" && name !== "synergy")
    throw new MillraceError("USAGE", `--data: ${name} runs on its own experiments`, {
      hint: "only astra takes a data set, and synergy a folder of the published simulator's runs",
    });
  const progress = session.progress();
  const result = await session.interruptible(async (signal) => {
    const onProgress = (done: number, total: number, what: string) =>
      progress.update({ phase: name, done, total, note: what });
    return (await paper.load())({
      quick,
      seed,
      signal,
      onProgress,
      ...(data === undefined ? {} : { data }),
      ...(out === undefined ? {} : { out }),
      ...(kept ? { keptOnly: true } : {}),
    });
  });
  progress.end();
  const written = out === undefined ? [] : await write(out, result);
  if (session.json) session.printJson(result);
  else {
    print(session, result);
    if (written.length > 0) session.note(`\nwrote ${written.join(", ")}`);
  }
  return 0;
}

function list(session: Session): number {
  const entries = [...papers].map(([name, { title }]) => ({ name, title }));
  if (session.json) session.printJson({ schema: "millrace.reproduce-list/1", papers: entries });
  else
    session.print(
      table(
        [{ title: "name" }, { title: "paper", least: 20 }],
        entries.map(({ name, title }) => [name, title]),
        session,
      ),
    );
  return 0;
}

function print(session: Session, { title, rows, unfitted }: Reproduction): void {
  const { paint, width } = session;
  const number = (value: number, unit: string) =>
    `${formatNumber(value)}${unit === "x" ? "×" : ""}`;
  const notes = [...new Set(rows.map((row) => row.note).filter((note) => note !== ""))];
  const cells = Math.min(width, 110) - 5;
  const pairs = sideBySide(rows);
  const paired = new Set(pairs.flatMap(({ predicted, measured }) => [predicted, measured]));
  const noteOf = ({ note }: ReproduceRow): string =>
    note === "" ? "" : `[${notes.indexOf(note) + 1}]`;
  const rangeOf = ({ low, high }: ReproduceRow): string =>
    low === high ? "" : `${formatNumber(low)} … ${formatNumber(high)}`;
  session.print([
    paint("strong", title),
    "",
    ...table(
      [
        { title: "claim", least: 30 },
        { title: "theirs", align: "right" },
        { title: "ours", align: "right" },
        { title: "low … high", align: "right", drop: 2 },
        { title: "unit", drop: 3 },
        { title: "n", align: "right", drop: 4 },
        { title: "note", align: "right" },
      ],
      rows
        .filter((row) => !paired.has(row))
        .map((row) => [
          row.claim,
          row.theirs === null ? "" : number(row.theirs, row.unit),
          number(row.ours, row.unit),
          rangeOf(row),
          row.unit === "x" ? "" : row.unit,
          formatWhole(row.n),
          noteOf(row),
        ]),
      { width, paint },
    ),
    ...(pairs.length === 0
      ? []
      : [
          "",
          ...table(
            [
              { title: "predicted beside measured", least: 30 },
              { title: "predicted", align: "right" },
              { title: "low … high", align: "right", drop: 2 },
              { title: "measured", align: "right" },
              { title: "low … high", align: "right", drop: 2 },
              { title: "error", align: "right" },
              { title: "n", align: "right", drop: 4 },
              { title: "note", align: "right" },
            ],
            pairs.map(({ what, predicted, measured }) => [
              what,
              number(predicted.ours, predicted.unit),
              rangeOf(predicted),
              number(measured.ours, measured.unit),
              rangeOf(measured),
              errorText(predicted.ours / measured.ours - 1),
              formatWhole(measured.n),
              noteOf(measured),
            ]),
            { width, paint },
          ),
        ]),
    "",
    ...notes.flatMap((note, i) =>
      wrap(note, cells).map((line, j) =>
        paint("faint", `${(j === 0 ? `[${i + 1}]` : "").padEnd(4)} ${line}`),
      ),
    ),
    paint("faint", `seed ${[...new Set(rows.map((row) => row.seed))].join(", ")}`),
    ...(unfitted.length === 0
      ? []
      : wrap(`not fitted to measurements: ${unfitted.join("; ")}`, Math.min(width, 100) - 2).map(
          (line, i) => `${i === 0 ? paint("warning", "!") : " "} ${line}`,
        )),
  ]);
}

async function write(folder: string, result: Reproduction): Promise<readonly string[]> {
  const { renderReport, reproduceReport } = await import("@millrace/report");
  const html = renderReport(
    reproduceReport({ result, context: { command: commandLine(), version } }),
  );
  const paths = [join(folder, "result.json"), join(folder, "report.html")] as const;
  writeFileAtomic(paths[0], `${JSON.stringify(result, null, 2)}\n`);
  writeFileAtomic(paths[1], html);
  return paths;
}
