/** The experiments as a document: one section each, measured beside what the stall model says. */
import {
  type Block,
  barChart,
  type KeyFigure,
  type ReportContext,
  type ReportDocument,
  type Section,
  writeNumber,
} from "@millrace/report";
import { type DataBench, type SpeedUp, speedUps } from "./bench-result.ts";
import type { CacheExperiment, CacheVariant } from "./cache-experiment.ts";
import type { CoordinatedRow } from "./coordinated-experiment.ts";
import type { PartitionedRow } from "./partitioned-experiment.ts";

/** How variants are called. */
export const variantNames: Readonly<Record<CacheVariant, string>> = {
  "page-cache": "page cache, shuffled",
  "page-cache-sequential": "page cache, file order",
  lru: "LRU in the process",
  minio: "MinIO",
};

const times = (x: number): string => `${writeNumber(x)}×`;

export function dataBenchReport(bench: DataBench, context: ReportContext = {}): ReportDocument {
  const { cache, coordinated, partitioned, machine, dataset, emulated } = bench;
  const figures: KeyFigure[] = [
    ...(cache === null
      ? []
      : mainSpeedUps(cache).map(({ share, over, measured, predicted }) => ({
          label: `MinIO over ${over === "lru" ? "LRU" : "page cache"}, ${writeNumber(share, "percent")} cached`,
          value: times(measured),
          note: `the LRU formula allows ${times(predicted)}`,
        }))),
    ...(coordinated ?? []).map(({ jobs, ratio }) => ({
      label: `${jobs} jobs, coordinated over alone`,
      value: times(ratio),
      note: `at most ${jobs}×`,
    })),
    ...(partitioned ?? [])
      .filter((row) => row.prep === "none")
      .map(({ servers, ratio }) => ({
        label: `fetching by ${servers} servers, from each other's memory over disk`,
        value: times(ratio),
      })),
  ];
  return {
    kind: "Data loading",
    title: "Feeding training without data stalls",
    subtitle: `${writeNumber(dataset.items, "whole")} images, ${writeNumber(dataset.bytes, "bytes")}; jobs are real processes, their accelerator is emulated.`,
    ...(context.command !== undefined && { command: context.command }),
    madeWith: [
      {
        label: "machine",
        value: `${machine.cpu}, ${machine.cores} cores, ${writeNumber(machine.hostMemoryBytes, "bytes")}`,
      },
      { label: "node", value: machine.node },
      { label: "JPEG decoder", value: machine.decoder },
      { label: "seed", value: String(bench.seed) },
      { label: "date", value: bench.date },
    ],
    verdict: {
      tone: "neutral",
      headline: headline(bench),
      figures,
    },
    sections: [
      ...(cache === null ? [] : [cacheSection(cache)]),
      ...(coordinated === null ? [] : [coordinatedSection(coordinated)]),
      ...(partitioned === null ? [] : [partitionedSection(partitioned)]),
      ...(emulated.length === 0
        ? []
        : [
            {
              id: "emulated",
              heading: "What is emulated here",
              short: "Emulated",
              blocks: [{ kind: "list" as const, items: emulated }],
            },
          ]),
    ],
    footnote: "Measured on this machine; what is emulated says so.",
    data: bench,
  };
}

/** Over the page cache, or over LRU where the page cache could not be bounded. */
function mainSpeedUps(cache: CacheExperiment): readonly SpeedUp[] {
  const over = cache.rows.some((row) => row.variant === "page-cache") ? "page-cache" : "lru";
  return speedUps(cache).filter((each) => each.over === over);
}

/** What the first of the experiments showed. */
function headline({ cache, coordinated, partitioned }: DataBench): string {
  const best = cache === null ? undefined : mainSpeedUps(cache).at(-1);
  const minio = cache?.rows.find((row) => row.variant === "minio" && row.share === best?.share);
  if (best !== undefined && minio !== undefined)
    return `With ${writeNumber(best.share, "percent")} of the data cached, MinIO makes epochs ${times(best.measured)} as fast as ${variantNames[best.over]}; ${writeNumber(minio.stallShare, "percent")} of them is waiting.`;
  const many = coordinated?.at(-1);
  if (many !== undefined)
    return `${many.jobs} jobs that share each preparation are ${times(many.ratio)} as fast as each for itself.`;
  const servers = partitioned?.[0];
  if (servers !== undefined)
    return `${servers.servers} servers fetch ${times(servers.ratio)} as fast from each other's memory as from their disks.`;
  return "Nothing was run.";
}

function cacheSection(experiment: CacheExperiment): Section {
  const { rows, samplesPerSecond, prep } = experiment;
  const storage = rows[0]?.storage;
  const shares = [...new Set(rows.map((row) => row.share))];
  const blocks: Block[] = [
    {
      kind: "prose",
      text: `One job, whose accelerator takes ${writeNumber(samplesPerSecond)} samples/s${prep === "none" ? ", without preparation, so that fetching is what is compared" : ""}. Storage is ${storage?.kind === "throttled" ? "a real device whose reads the kernel holds" : "emulated: a token bucket in front of the reader holds it"} to ${writeNumber(storage?.bytesPerSecond ?? Number.NaN, "bytes")}/s${storage?.operationsPerSecond === undefined ? "" : ` and ${writeNumber(storage.operationsPerSecond)} reads/s`}. Every variant has the same memory. The first epoch fills the caches and is not counted.`,
    },
    {
      kind: "charts",
      columns: shares.length > 1 ? 2 : 1,
      charts: shares.map((share) => ({
        title: `Seconds of an epoch, ${writeNumber(share, "percent")} of the data set cached`,
        svg: barChart({
          title: `Seconds of an epoch by cache, ${writeNumber(share, "percent")} cached`,
          width: 430,
          format: "seconds",
          bars: rows
            .filter((row) => row.share === share)
            .map((row) => ({
              label: variantNames[row.variant],
              value: row.epochSeconds.median,
              low: row.epochSeconds.low,
              high: row.epochSeconds.high,
              emphasis: row.variant === "minio",
            })),
        }),
      })),
    },
    {
      kind: "table",
      columns: [
        { header: "Cached", kind: "number", format: "percent" },
        { header: "Cache", kind: "text" },
        { header: "Epoch", kind: "number", format: "seconds" },
        { header: "Predicted", kind: "number", format: "seconds" },
        { header: "Stall", kind: "number", format: "percent", bar: 1 },
        { header: "Storage", kind: "number", format: "bytes" },
        { header: "Hits", kind: "number", format: "percent" },
        { header: "By formula", kind: "number", format: "percent" },
        { header: "MinIO is faster by", kind: "number", unit: "×" },
      ],
      rows: rows.map((row) => ({
        emphasis: row.variant === "minio",
        cells: [
          row.share,
          variantNames[row.variant],
          {
            value: row.epochSeconds.median,
            low: row.epochSeconds.low,
            high: row.epochSeconds.high,
          },
          row.predicted.epochSeconds,
          row.stallShare,
          row.storageBytes,
          row.hitRate,
          row.predicted.hitRate,
          speedUps(experiment).find((s) => s.share === row.share && s.over === row.variant)
            ?.measured ?? null,
        ],
      })),
      note: "Hits are 1 - bytes from storage / bytes of the data set; padding of direct reads and read-ahead count as bytes from storage. Predictions take the LRU formula for both page cache and LRU; the kernel's two lists do a little better.",
    },
    ...experiment.left.map((text) => ({ kind: "note", text }) as const),
  ];
  return { id: "cache", heading: "One job: which cache", short: "Cache", blocks };
}

function coordinatedSection(rows: readonly CoordinatedRow[]): Section {
  return {
    id: "coordinated",
    heading: "Several jobs: each for itself, or coordinated",
    short: "Coordinated",
    blocks: [
      {
        kind: "prose",
        text: "Jobs over one data set on the same cores, items in memory, accelerators that take what comes. Throughput is of all jobs together.",
      },
      {
        kind: "table",
        columns: [
          { header: "Jobs", kind: "number", format: "whole" },
          { header: "Each for itself", kind: "number", unit: "samples/s" },
          { header: "Coordinated", kind: "number", unit: "samples/s" },
          { header: "Ratio", kind: "number" },
          { header: "Ratio / jobs", kind: "number" },
        ],
        rows: rows.map(({ jobs, alone, coordinated, ratio }) => ({
          cells: [
            jobs,
            { value: alone.median, low: alone.low, high: alone.high },
            { value: coordinated.median, low: coordinated.low, high: coordinated.high },
            ratio,
            ratio / jobs,
          ],
        })),
      },
    ],
  };
}

function partitionedSection(rows: readonly PartitionedRow[]): Section {
  const storage = rows[0]?.storage;
  return {
    id: "partitioned",
    heading: "Several servers: from disk, or from each other's memory",
    short: "Partitioned",
    blocks: [
      {
        kind: "prose",
        text: `Servers are network namespaces of this machine, each with a store (${rows[0]?.store}) and a disk ${storage?.kind === "throttled" ? "(real reads, held to" : "(emulated:"} ${writeNumber(storage?.bytesPerSecond ?? Number.NaN, "bytes")}/s${storage?.operationsPerSecond === undefined ? "" : `, ${writeNumber(storage.operationsPerSecond)} reads/s`}). All servers share the cores of this machine, which is what bounds them once data comes from memory.`,
      },
      {
        kind: "table",
        columns: [
          { header: "Servers", kind: "number", format: "whole" },
          { header: "Preparation", kind: "text" },
          { header: "Epoch from disk", kind: "number", format: "seconds" },
          { header: "From caches", kind: "number", format: "seconds" },
          { header: "Ratio", kind: "number" },
          { header: "Then", kind: "number", unit: "samples/s" },
          { header: "Disk after epoch 1", kind: "number", format: "bytes" },
        ],
        rows: rows.map((row) => ({
          cells: [
            row.servers,
            row.prep,
            meanOf(row.alone.epochSeconds),
            meanOf(row.partitioned.epochSeconds),
            row.ratio,
            row.partitioned.samplesPerSecond,
            row.partitioned.storageBytes,
          ],
        })),
      },
      {
        kind: "table",
        columns: [
          { header: "Servers", kind: "number", format: "whole" },
          { header: "Preparation", kind: "text" },
          { header: "Wait for prep", kind: "number", format: "percent" },
          { header: "CPU of jobs", kind: "number", unit: "ms/sample" },
          { header: "CPU of stores", kind: "number", unit: "ms/sample" },
          { header: "CPU, all", kind: "number", unit: "ms/sample" },
          { header: "Cores busy", kind: "number", format: "percent" },
        ],
        rows: rows.map((row) => ({
          cells: [
            row.servers,
            row.prep,
            row.prep === "none" ? "" : row.partitioned.prepShare,
            row.partitioned.coreMsPerSample,
            row.partitioned.storeMsPerSample,
            row.partitioned.machineMsPerSample,
            row.partitioned.coresBusy,
          ],
        })),
      },
    ],
  };
}

function meanOf(values: readonly number[]): { value: number; low: number; high: number } {
  return {
    value: values.reduce((a, b) => a + b, 0) / values.length,
    low: Math.min(...values),
    high: Math.max(...values),
  };
}
