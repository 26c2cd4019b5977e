/** `millrace data bench`. */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import {
  formatBytes,
  formatNumber,
  formatPercent,
  formatSeconds,
  MillraceError,
} from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import {
  effectiveRate,
  makeJpegSet,
  openFolder,
  parseStorageModel,
  type StorageModel,
  storageModels,
} from "@millrace/data";
import type { Bounds, DataBench, PartitionedRow } from "@millrace/data/experiments";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { counts, shareOf } from "./amounts.ts";

interface Flags {
  readonly only?: string;
  readonly dataset?: string;
  readonly images?: number;
  readonly shares?: string;
  readonly accelerator?: number;
  readonly storage?: string;
  readonly prep?: "image" | "none";
  readonly sequential?: boolean;
  readonly jobs?: string;
  readonly servers?: string;
  readonly store?: "redis" | "memcached";
  readonly epochs?: number;
  readonly emulated?: boolean;
  readonly seed?: number;
  readonly out?: string;
}

const experiments = ["cache", "coordinated", "partitioned"] as const;
type Experiment = (typeof experiments)[number];

export async function dataBenchCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as Flags;
  const wanted = chosen(flags.only);
  const progress = session.progress();
  const bench = await session.interruptible(async (signal) => {
    const made =
      flags.dataset === undefined ? mkdtempSync(join(tmpdir(), "millrace-data-bench-")) : null;
    try {
      if (made !== null) {
        const count = flags.images ?? 3000;
        makeJpegSet(made, {
          count,
          signal,
          progress: (done) => progress.update({ phase: "making images", done, total: count }),
        });
      }
      return await run(
        flags,
        wanted,
        flags.dataset ?? (made as string),
        signal,
        (phase, done, total, what) => progress.update({ phase, done, total, note: what }),
      );
    } finally {
      if (made !== null) rmSync(made, { recursive: true, force: true });
    }
  });
  progress.end();
  if (flags.out !== undefined) await write(session, flags.out, bench);
  if (session.json) session.printJson(bench);
  else await print(session, bench);
  return 0;
}

function chosen(only: string | undefined): ReadonlySet<Experiment> {
  const names = only === undefined ? experiments : only.split(",").map((name) => name.trim());
  for (const name of names)
    if (!experiments.includes(name as Experiment))
      throw new MillraceError("USAGE", `--only: there is no experiment ${name}`, {
        hint: `there are ${experiments.join(", ")}`,
      });
  return new Set(names as Experiment[]);
}

async function run(
  flags: Flags,
  wanted: ReadonlySet<Experiment>,
  dataset: string,
  signal: AbortSignal,
  tell: (phase: string, done: number, total: number, what: string) => void,
): Promise<DataBench> {
  const lib = await import("@millrace/data/experiments");
  const source = openFolder(dataset);
  const { epochs = 3, seed = 1, prep = "none" } = flags;
  const bounds: Bounds = flags.emulated
    ? {
        memory: false,
        device: null,
        namespaces: lib.probeBounds(dataset).namespaces,
        reasons: ["--emulated was given"],
      }
    : lib.probeBounds(dataset);
  const shares = (flags.shares ?? "35%,65%").split(",").map((text) => shareOf(text, "--shares"));
  const given = flags.storage === undefined ? null : parseStorageModel(flags.storage);
  const fetchStorage: StorageModel = given ?? { bytesPerSecond: 60e6 };
  const onProgress = (phase: string) => (done: number, total: number, what: string) =>
    tell(phase, done, total, what);
  const most = Math.max(...shares);
  // With the rate that MinIO feeds at the largest share, that share is just what the job needs.
  const fed =
    effectiveRate(fetchStorage, source.totalBytes / source.length) /
    (source.totalBytes / source.length) /
    Math.max(0.05, 1 - most);
  const cache = wanted.has("cache")
    ? await lib.runCacheExperiment({
        dataset,
        prep,
        shares,
        variants: [
          "page-cache",
          ...(flags.sequential ? (["page-cache-sequential"] as const) : []),
          "lru",
          "minio",
        ],
        epochs,
        samplesPerSecond: flags.accelerator ?? 0.95 * fed,
        storage: fetchStorage,
        bounds,
        workers: availableParallelism(),
        seed,
        signal,
        onProgress: onProgress("caches"),
      })
    : null;
  const coordinated = wanted.has("coordinated")
    ? await lib.runCoordinatedExperiment({
        dataset,
        jobs: counts(flags.jobs ?? "4,8", "--jobs"),
        epochs,
        workers: availableParallelism(),
        cacheBytes: source.totalBytes,
        seed,
        signal,
        onProgress: onProgress("jobs"),
      })
    : null;
  let partitioned: PartitionedRow[] | null = null;
  const reasons = [...bounds.reasons];
  if (wanted.has("partitioned") && !bounds.namespaces)
    reasons.push("servers were left out: network namespaces cannot be made here (root, iproute2)");
  else if (wanted.has("partitioned")) {
    partitioned = [];
    for (const kind of ["none", "image"] as const)
      partitioned.push(
        ...(await lib.runPartitionedExperiment({
          dataset,
          servers: counts(flags.servers ?? "2,4", "--servers"),
          epochs,
          storage: given ?? storageModels.hdd,
          bounds,
          prep: kind,
          store: flags.store ?? "redis",
          seed,
          signal,
          onProgress: onProgress(kind === "none" ? "servers" : "servers that prepare"),
        })),
      );
  }
  return {
    schema: "millrace.data-bench/1",
    machine: lib.machineFacts(),
    date: new Date().toISOString(),
    seed,
    dataset: { items: source.length, bytes: source.totalBytes },
    emulated: reasons,
    cache,
    coordinated,
    partitioned,
  };
}

async function write(session: Session, folder: string, bench: DataBench): Promise<void> {
  const { dataBenchReport } = await import("@millrace/data/experiments");
  const { renderReport } = await import("@millrace/report");
  const html = renderReport(dataBenchReport(bench, { command: commandLine(), version }));
  const paths = [join(folder, "result.json"), join(folder, "report.html")] as const;
  writeFileAtomic(paths[0], `${JSON.stringify(bench, null, 2)}\n`);
  writeFileAtomic(paths[1], html);
  session.note(`wrote ${paths.join(", ")}`);
}

async function print(
  session: Session,
  { cache, coordinated, partitioned, emulated }: DataBench,
): Promise<void> {
  const { speedUps, variantNames } = await import("@millrace/data/experiments");
  const { paint } = session;
  const x = (value: number | undefined) => (value === undefined ? "" : `${formatNumber(value)}×`);
  if (cache !== null) {
    const ups = speedUps(cache);
    const storage = cache.rows[0]?.storage;
    session.print([
      paint(
        "strong",
        `one job of ${formatNumber(cache.samplesPerSecond)} samples/s, storage ${storage?.kind} to ${formatBytes(storage?.bytesPerSecond ?? 0)}/s`,
      ),
      ...table(
        [
          { title: "cached", align: "right" },
          { title: "cache" },
          { title: "epoch", align: "right" },
          { title: "predicted", align: "right", drop: 1 },
          { title: "stall", align: "right" },
          { title: "from storage", align: "right", drop: 2 },
          { title: "hits", align: "right" },
          { title: "MinIO faster by", align: "right" },
          { title: "formula", align: "right", drop: 3 },
        ],
        cache.rows.map((row) => {
          const up = ups.find((one) => one.share === row.share && one.over === row.variant);
          return [
            formatPercent(row.share),
            variantNames[row.variant],
            formatSeconds(row.epochSeconds.median),
            formatSeconds(row.predicted.epochSeconds),
            formatPercent(row.stallShare),
            formatBytes(row.storageBytes),
            formatPercent(row.hitRate),
            x(up?.measured),
            x(up?.predicted),
          ];
        }),
        session,
      ),
      ...cache.left.map((text) => paint("faint", `left out: ${text}`)),
      "",
    ]);
  }
  if (coordinated !== null)
    session.print([
      paint("strong", "jobs over one data set on the same cores, samples/s of all together"),
      ...table(
        [
          { title: "jobs", align: "right" },
          { title: "each for itself", align: "right" },
          { title: "coordinated", align: "right" },
          { title: "ratio", align: "right" },
        ],
        coordinated.map((row) => [
          String(row.jobs),
          formatNumber(row.alone.median),
          formatNumber(row.coordinated.median),
          x(row.ratio),
        ]),
        session,
      ),
      "",
    ]);
  if (partitioned !== null)
    session.print([
      paint(
        "strong",
        `servers with a disk (${partitioned[0]?.storage.kind}) and a store (${partitioned[0]?.store}) each, all on this machine's cores`,
      ),
      ...table(
        [
          { title: "servers", align: "right" },
          { title: "prep" },
          { title: "epoch from disk", align: "right" },
          { title: "from caches", align: "right" },
          { title: "ratio", align: "right" },
          { title: "disk after epoch 1", align: "right" },
          { title: "samples/s", align: "right" },
          { title: "waits for prep", align: "right", drop: 1 },
          { title: "CPU a sample", align: "right", drop: 2 },
          { title: "cores busy", align: "right", drop: 1 },
        ],
        partitioned.map((row) => [
          String(row.servers),
          row.prep,
          formatSeconds(mean(row.alone.epochSeconds)),
          formatSeconds(mean(row.partitioned.epochSeconds)),
          x(row.ratio),
          formatBytes(row.partitioned.storageBytes),
          formatNumber(row.partitioned.samplesPerSecond),
          row.prep === "none" ? "" : formatPercent(row.partitioned.prepShare),
          formatSeconds(row.partitioned.machineMsPerSample / 1e3),
          formatPercent(row.partitioned.coresBusy),
        ]),
        session,
      ),
      "",
    ]);
  for (const reason of emulated) session.warn(`emulated: ${reason}`);
}

const mean = (values: readonly number[]): number =>
  values.reduce((a, b) => a + b, 0) / values.length;
