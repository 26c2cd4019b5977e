/** `millrace data analyze`. */

import { availableParallelism } from "node:os";
import { join } from "node:path";
import {
  formatBytes,
  formatNumber,
  formatPercent,
  formatSeconds,
  MillraceError,
} from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { type CachePolicy, openSource, parseStorageModel, writeJobProfile } from "@millrace/data";
import type { DataAnalysis } from "@millrace/data/experiments";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { question, sizeOrShare } from "./amounts.ts";
import { type SourceFlags, sourceOptions } from "./source.ts";

interface Flags extends SourceFlags {
  readonly ingestionRate?: number;
  readonly cache?: string;
  readonly cores?: number;
  readonly policy?: CachePolicy;
  readonly prep?: "image" | "none";
  readonly batch?: number;
  readonly servers?: number;
  readonly peer?: readonly string[];
  readonly jobs?: number;
  readonly coordinated?: boolean;
  readonly whatIf?: readonly string[];
  readonly storage?: string;
  readonly items?: number;
  readonly epochs?: number;
  readonly profile?: string;
  readonly name?: string;
  readonly gpus?: number;
  readonly seed?: number;
  readonly out?: string;
}

export async function dataAnalyzeCommand(
  session: Session,
  dataset: string,
  command: readonly string[],
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as Flags;
  const { ingestionRate, batch = 64, servers = 1, jobs = 1, seed = 1, peer = [] } = flags;
  if (ingestionRate === undefined && command.length === 0)
    throw new MillraceError("USAGE", "--ingestion-rate is missing", {
      hint: "say how many samples per second the accelerators take with synthetic input, e.g. --ingestion-rate 1500, or let a command tell: -- python3 train.py",
    });
  if (servers > 1 && peer.length === 0)
    throw new MillraceError("USAGE", "--servers needs --peer", {
      hint: "name a store on another server, e.g. --peer redis://host:6379, so that the network can be measured",
    });
  const opened = await sourceOptions(dataset, flags);
  const source = await openSource(opened);
  const all = availableParallelism();
  const cores = flags.cores ?? all;
  const storage = flags.storage === undefined ? undefined : parseStorageModel(flags.storage);
  const questions = (flags.whatIf ?? []).map((text) => question(text, source.totalBytes));
  const progress = session.progress();
  const { analyzeData, dataAnalysisReport, profileOf, timeCommand } = await import(
    "@millrace/data/experiments"
  );
  const analysis = await session.interruptible(async (signal) => {
    const tell = (done: number, total: number, what: string) =>
      progress.update({ phase: "measuring", done, total, note: what });
    const times =
      command.length === 0
        ? null
        : await timeCommand({
            command,
            source,
            samples: flags.items ?? 2000,
            signal,
            onPhase: (phase) => tell(0, 1, `the command, ${phase}`),
          });
    return await analyzeData(
      {
        dataset: { ...opened, path: source.path },
        samples: source.length,
        bytes: source.totalBytes,
        ingestionRate: ingestionRate ?? null,
        ...(times && { command: times }),
        prep: flags.prep ?? "image",
        batchSize: batch,
        seed,
        items: flags.items ?? 2000,
        epochs: flags.epochs ?? 3,
        cores: Array.from({ length: Math.min(all, 64) }, (_, i) => i + 1).filter(
          (n) => n <= 2 || Number.isInteger(Math.log2(n)) || n === all,
        ),
        inFlight: 16,
        ...(storage && { storage }),
        members: peer.map((url, i) => ({ name: `peer${i}`, url, bytes: 2 ** 40 })),
        setting: {
          cores,
          cacheBytes:
            flags.cache === undefined ? 0 : sizeOrShare(flags.cache, source.totalBytes, "--cache"),
          policy: flags.policy ?? "minio",
          servers,
          jobs,
          coordinated: flags.coordinated ?? false,
        },
        questions,
        signal,
        onProgress: tell,
      },
      new Date().toISOString(),
    );
  });
  progress.end();
  const wrote: string[] = [];
  if (flags.profile !== undefined) {
    const { name = "job", gpus = 1 } = flags;
    writeJobProfile(flags.profile, profileOf(analysis, { name, gpus, batchSize: batch }));
    wrote.push(flags.profile);
  }
  if (flags.out !== undefined) {
    const { renderReport } = await import("@millrace/report");
    const html = renderReport(dataAnalysisReport(analysis, { command: commandLine(), version }));
    const paths = [join(flags.out, "result.json"), join(flags.out, "report.html")] as const;
    writeFileAtomic(paths[0], `${JSON.stringify(analysis, null, 2)}\n`);
    writeFileAtomic(paths[1], html);
    wrote.push(...paths);
  }
  for (const remark of analysis.remarks) session.warn(remark);
  if (session.json) session.printJson(analysis);
  else await print(session, analysis);
  if (wrote.length > 0) session.note(`\nwrote ${wrote.join(", ")}`);
  return 0;
}

async function print(session: Session, analysis: DataAnalysis): Promise<void> {
  const { now, split, measuredRates, dataset, setting, sufficient, questions } = analysis;
  const { policyNames, sufficientSentence, stageNames, writeAmount, writeSetting } = await import(
    "@millrace/data/experiments"
  );
  const { paint } = session;
  const plusMinus = (
    { value, low, high }: { value: number; low: number; high: number },
    write: (x: number) => string,
  ) => `${write(value)}  (${write(low)} … ${write(high)})`;
  const rate = (x: number) => `${formatNumber(x)} samples/s`;
  const bytes = (x: number) => `${formatBytes(x)}/s`;
  session.print([
    paint(
      "strong",
      `${formatNumber(dataset.samples)} samples, ${formatBytes(dataset.bytes)}; storage ${analysis.storageKind}`,
    ),
    "",
    ...table(
      [{ title: "stage" }, { title: "measured" }, { title: "an epoch of it", align: "right" }],
      [
        ["compute", rate(analysis.rates.ingestionRate), formatSeconds(now.stages.compute)],
        ...measuredRates.prep.map(({ cores, samplesPerSecond }) => [
          `prep, ${writeAmount("cores", cores)}`,
          plusMinus(samplesPerSecond, rate),
          formatSeconds(dataset.samples / samplesPerSecond.value),
        ]),
        [
          "cache",
          plusMinus(measuredRates.cacheBytesPerSecond, bytes),
          formatSeconds(dataset.bytes / measuredRates.cacheBytesPerSecond.value),
        ],
        [
          "storage",
          plusMinus(measuredRates.storageBytesPerSecond, bytes),
          formatSeconds(dataset.bytes / measuredRates.storageBytesPerSecond.value),
        ],
        ...(measuredRates.networkBytesPerSecond === null
          ? []
          : [
              [
                "other servers",
                plusMinus(measuredRates.networkBytesPerSecond, bytes),
                formatSeconds(dataset.bytes / measuredRates.networkBytesPerSecond.value),
              ],
            ]),
      ],
      session,
    ),
    "",
    paint("strong", "storage by random reads of whole items, measured"),
    `  ${measuredRates.storageByPattern
      .filter(({ size }) => size === "items")
      .map(({ depth, bytesPerSecond }) => `${bytes(bytesPerSecond)} with ${depth} in flight`)
      .join(", ")}`,
    "",
    paint("strong", "without a cache, measured"),
    `  compute ${formatSeconds(split.compute)}, prep stall ${plusMinus(split.prepStall, formatSeconds)}, fetch stall ${plusMinus(split.fetchStall, formatSeconds)}`,
    "",
    paint(
      "strong",
      `with ${writeAmount("cores", setting.cores)} and ${formatBytes(setting.cacheBytes)} of cache (${setting.policy}), predicted`,
    ),
    `  an epoch takes ${formatSeconds(now.epochSeconds)} at ${rate(now.samplesPerSecond)}; it waits for ${stageNames[now.bottleneck]}`,
    `  prep stall ${formatSeconds(now.prepStallSeconds)}, fetch stall ${formatSeconds(now.fetchStallSeconds)}, ${formatPercent(now.stallShare)} of the epoch${now.extrapolated ? "; cores beyond the measured ones are a guess" : ""}`,
    "",
    paint("strong", "what would be enough"),
    ...sufficient.map((answer) => `  ${sufficientSentence(answer)}`),
    "",
    paint("strong", `policies of a cache of ${formatBytes(setting.cacheBytes)}`),
    ...table(
      [
        { title: "policy" },
        { title: "hits", align: "right" },
        { title: "an epoch", align: "right" },
        { title: "enough cache", align: "right" },
      ],
      analysis.policies.map(({ policy, estimate, sufficientCacheBytes: enough }) => [
        policyNames[policy],
        formatPercent(1 - estimate.hits.storage),
        formatSeconds(estimate.epochSeconds),
        enough === null ? "no amount" : enough === 0 ? "none is needed" : formatBytes(enough),
      ]),
      session,
    ),
    ...(questions.length === 0
      ? []
      : [
          "",
          paint("strong", "what if"),
          ...questions.map(
            ({ resource, value, estimate }) =>
              `  ${writeSetting(resource, value)}: ${formatSeconds(estimate.epochSeconds)} an epoch, ${formatNumber(now.epochSeconds / estimate.epochSeconds)}× as fast, waits for ${stageNames[estimate.bottleneck]}`,
          ),
        ]),
  ]);
}
