/** `millrace bench`: one load against one endpoint. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import {
  type BenchReport,
  type BenchRun,
  chunksParquet,
  type ErrorClass,
  errorClasses,
  type LoadSpec,
  type LoadTrace,
  liveMetrics,
  notOfLoad,
  type RequestRecord,
  type RunData,
  RunWriter,
  reportMetrics,
  requestsCsv,
  requestsParquet,
  startRun,
  summarizeRun,
} from "@millrace/bench";
import { MillraceError } from "@millrace/core";
import { AtomicFileStream, readTextFile, writeFileAtomic } from "@millrace/core/node";
import { commandLine } from "../../command-line.ts";
import { makeOutputFolder } from "../../output-folder.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { endpointOf } from "./endpoint-flags.ts";
import { loadOf } from "./load-flags.ts";
import { runLines } from "./run-lines.ts";
import { summaryOptionsOf } from "./score-flags.ts";
import { openTokenizer } from "./tokenizer.ts";

type Flags = Readonly<Record<string, unknown>>;

/** Failures of the first request that no load will cure: going on would only repeat them. */
const hopeless = new Set<ErrorClass>([...notOfLoad, "protocol", "http-status"]);

export async function benchCommand(session: Session, flags: Flags): Promise<number> {
  const options = summaryOptionsOf(flags);
  const load = loadOf(flags);
  const endpoint = await endpointOf(flags, session.surroundings.environment);
  const out = flags.out as string | undefined;
  if (out !== undefined) makeOutputFolder(out);
  const { ttft, tbtUs } = options.targets;
  const { tokenizer, close } = await openTokenizer(flags.tokenizer as string | undefined);
  const traces = await tracesOf(load);
  const progress = session.progress();
  return session.interruptible(async (signal) => {
    const run = startRun({
      endpoint,
      load,
      seed: (flags.seed as number | undefined) ?? 42,
      label: (flags.label as string | undefined) ?? "",
      targets: { tbtUs, ...(ttft.type === "constant" && { ttftUs: ttft.us }) },
      ...(flags.workers !== undefined && { workers: flags.workers as number }),
      ...(flags.keepText === true && { keepText: true }),
      ...(traces !== null && { traces }),
      ...(flags.scrape !== undefined && {
        scrape: typeof flags.scrape === "string" ? { url: flags.scrape } : {},
      }),
      tokenizer,
      signal,
    });
    const records: RequestRecord[] = [];
    const timer = setInterval(() => {
      const { seconds, scheduled, ok, failed, inFlight, chunks, due } = run.counters();
      progress.update({
        phase: seconds < 0 ? "warming up" : "measuring",
        done: ok + failed,
        total: Number.isFinite(scheduled) ? scheduled : 0,
        note: `${due} due, ${inFlight} in flight${failed > 0 ? `, ${failed} failed` : ""}, ${chunks} chunks`,
      });
    }, 200);
    const metrics =
      flags.prometheus === undefined
        ? null
        : await serveMetrics(session, run, flags.prometheus as number);
    let writer: RunWriter | null = null;
    try {
      for await (const record of run) {
        if (record.warmup && records.length === 0) throwIfHopeless(record);
        records.push(record);
        if (writer !== null) writer.record(record);
        else if (out !== undefined && !record.warmup) {
          // The header is known once warming up is over; what came before is written behind it.
          writer = new RunWriter(join(out, "run.jsonl"), await run.header);
          for (const before of records) writer.record(before);
        }
      }
      const end = await run.end;
      writer?.end(end);
      writer = null;
      records.sort((a, b) => a.index - b.index);
      const data = { header: await run.header, records, end };
      const report = summarizeRun(data, options);
      clearInterval(timer);
      progress.end();
      if (session.json) session.printJson(report);
      else session.print(runLines(report, session));
      if (out !== undefined) await keep(session, data, report, out, flags.parquet === true);
      if (signal.aborted)
        throw new MillraceError("INTERRUPTED", "interrupted; the figures are of what had ended");
      throwIfBreached(report);
      return 0;
    } finally {
      clearInterval(timer);
      metrics?.close();
      close();
      writer?.abort();
      progress.end();
    }
  });
}

/** The trace that the load replays, read. */
async function tracesOf({ arrivals }: LoadSpec): Promise<Record<string, LoadTrace> | null> {
  if (arrivals.type !== "trace") return null;
  const { recogniseTrace } = await import("@millrace/bench/traces");
  const text = readTextFile(arrivals.path);
  return { [arrivals.path]: recogniseTrace(text, arrivals.path).read(text, arrivals.path) };
}

/** Counters for Prometheus on loopback while the run goes on. */
async function serveMetrics(session: Session, run: BenchRun, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") response.writeHead(404).end();
    else
      response
        .writeHead(200, { "content-type": "text/plain; version=0.0.4" })
        .end(liveMetrics(run.counters()));
  });
  server.listen(port, "127.0.0.1");
  try {
    // once() rejects with the server's error.
    await once(server, "listening");
  } catch (error) {
    run.stop();
    throw new MillraceError(
      "ENVIRONMENT_MISSING",
      `--prometheus ${port}: ${(error as Error).message}`,
      { hint: "name another port, or 0 for a free one" },
    );
  }
  server.unref();
  session.note(`counters at http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`);
  return server;
}

/** Writes what can be made of the run beside its raw file. */
async function keep(
  session: Session,
  run: RunData,
  report: BenchReport,
  out: string,
  parquet: boolean,
): Promise<void> {
  const { renderReport } = await import("@millrace/report");
  const { runReport } = await import("@millrace/bench/report");
  writeFileAtomic(join(out, "report.json"), `${JSON.stringify(report, null, 1)}\n`);
  const context = { command: commandLine(), version };
  writeFileAtomic(join(out, "report.html"), renderReport(runReport({ run, report, context })));
  using csv = new AtomicFileStream(join(out, "requests.csv"));
  for (const piece of requestsCsv(run.records)) csv.write(piece);
  csv.commit();
  writeFileAtomic(join(out, "metrics.prom"), reportMetrics(report));
  if (parquet) {
    writeFileAtomic(join(out, "requests.parquet"), requestsParquet(run.records));
    writeFileAtomic(join(out, "chunks.parquet"), chunksParquet(run.records));
  }
  const tables = parquet ? " and two Parquet files" : "";
  session.note(
    `wrote report.html, report.json, run.jsonl, requests.csv, metrics.prom${tables} in ${out}`,
  );
}

function throwIfHopeless({ error }: RequestRecord): void {
  if (error === null || !hopeless.has(error.class)) return;
  const { meaning, advice } = errorClasses[error.class];
  throw new MillraceError(
    "ENVIRONMENT_MISSING",
    `the first request failed (${error.class}): ${error.message}`,
    { hint: `${meaning} ${advice} --warmup 0 measures all the same.` },
  );
}

/** The promises that did not hold as the failure that they are: the result is printed already. */
export function throwIfBreached(report: BenchReport): void {
  const broken = report.slo.filter(({ met }) => !met);
  if (broken.length === 0) return;
  throw new MillraceError(
    "SLO_BREACHED",
    broken.map(({ term }) => `${term} does not hold`).join("; "),
    {
      hint: "millrace bench capacity finds the highest rate at which it does",
    },
  );
}
