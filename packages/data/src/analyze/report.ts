/** An analysis as a document: what an epoch waits for, what would be enough, and how each cache would do. */
import {
  barChart,
  lineChart,
  type ReportContext,
  type ReportDocument,
  type Row,
  type Section,
  writeNumber,
} from "@millrace/report";
import type { EpochEstimate, Stage } from "../stall-model/epoch.ts";
import type { CachePolicy } from "../stall-model/hit-rate.ts";
import { mostJobs, type Resource, type Sufficient } from "../stall-model/what-if.ts";
import type { DataAnalysis } from "./analysis.ts";

/** What an epoch waits for, in words. */
export const stageNames: Readonly<Record<Stage, string>> = {
  compute: "the accelerators",
  prep: "preparation",
  fetch: "fetching",
};

const resourceNames: Readonly<Record<Resource, string>> = {
  cacheBytes: "cache",
  cores: "cores",
  storage: "storage",
  network: "network",
  accelerator: "accelerators",
  jobs: "jobs",
};

/** Policies in words. */
export const policyNames: Readonly<Record<CachePolicy, string>> = {
  minio: "MinIO",
  lru: "LRU",
  sequential: "LRU, read in file order",
  none: "no cache",
};

/** A resource at an amount, for people: `4 jobs`, `cache of 64 GB`. */
export function writeSetting(resource: Resource, value: number): string {
  const amount = writeAmount(resource, value);
  return resource === "cores" || resource === "jobs"
    ? amount
    : `${resourceNames[resource]} of ${amount}`;
}

/** An amount of a resource, for people. */
export function writeAmount(resource: Resource, value: number): string {
  if (resource === "cores")
    return `${writeNumber(value, "whole")} ${value === 1 ? "core" : "cores"}`;
  if (resource === "jobs")
    return value >= mostJobs
      ? "any number of jobs"
      : `${writeNumber(value, "whole")} ${value === 1 ? "job" : "jobs"}`;
  if (resource === "cacheBytes") return writeNumber(value, "bytes");
  if (resource === "accelerator") return `${writeNumber(value)} samples/s`;
  return `${writeNumber(value, "bytes")}/s`;
}

function answerInBrief({ resource, value }: Sufficient): string {
  if (resource === "jobs" || resource === "accelerator")
    return value === null
      ? "not one is fed"
      : `${value < mostJobs || resource !== "jobs" ? "up to " : ""}${writeAmount(resource, value)} fed`;
  if (value === null) return "no amount suffices";
  return value === 0 ? "none is needed" : `${writeAmount(resource, value)} suffices`;
}

/** One sentence about what would be enough. */
export function sufficientSentence({ resource, value, now, estimate }: Sufficient): string {
  if (resource === "accelerator")
    return `data keeps up with accelerators of up to ${writeAmount(resource, value ?? 0)}`;
  if (resource === "jobs")
    return value === null
      ? "data does not keep up with one job"
      : `data keeps up with ${value < mostJobs && value > 1 ? "up to " : ""}${writeAmount(resource, value)}`;
  if (value === null) return `no amount of ${resourceNames[resource]} is enough`;
  if (value === 0) return `no ${resourceNames[resource]} is needed`;
  if (value <= now && resource === "cores") return `${writeAmount(resource, value)} would do`;
  if (value <= now) return `${writeAmount(resource, value)} of ${resourceNames[resource]} would do`;
  return `${writeAmount(resource, value)} would be enough: then an epoch takes ${writeNumber(estimate.epochSeconds, "seconds")} and waits for ${stageNames[estimate.bottleneck]}`;
}

export function dataAnalysisReport(
  analysis: DataAnalysis,
  context: ReportContext = {},
): ReportDocument {
  const { now, rates, dataset, machine, split, setting, storageKind } = analysis;
  const share = Math.min(1, setting.cacheBytes / dataset.bytes);
  return {
    kind: "Data stalls",
    title: "What a training job waits for",
    subtitle: `${writeNumber(dataset.samples, "whole")} samples, ${writeNumber(dataset.bytes, "bytes")}`,
    ...(context.command !== undefined && { command: context.command }),
    madeWith: [
      { label: "machine", value: `${machine.cpu}, ${machine.cores} cores` },
      { label: "storage", value: storageKind },
      { label: "JPEG decoder", value: machine.decoder },
      { label: "seed", value: String(analysis.seed) },
      { label: "date", value: analysis.date },
    ],
    verdict: {
      tone: now.bottleneck === "compute" ? "good" : "warning",
      headline:
        now.bottleneck === "compute"
          ? "Data keeps up with the accelerators."
          : `The job waits for ${stageNames[now.bottleneck]}: ${writeNumber(now.stallShare, "percent")} of an epoch.`,
      detail: `With ${writeAmount("cores", setting.cores)} and ${writeNumber(setting.cacheBytes, "bytes")} of cache (${writeNumber(share, "percent")} of the data set, ${setting.policy}).`,
      figures: [
        { label: "Epoch, predicted", value: writeNumber(now.epochSeconds, "seconds") },
        {
          label: "Throughput, predicted",
          value: writeNumber(now.samplesPerSecond),
          unit: "samples/s",
        },
        { label: "Prep stall", value: writeNumber(now.prepStallSeconds, "seconds") },
        { label: "Fetch stall", value: writeNumber(now.fetchStallSeconds, "seconds") },
      ],
    },
    sections: [
      stagesSection(analysis),
      whatIfSection(analysis),
      cacheSection(analysis),
      jobsSection(analysis),
    ],
    footnote: `Rates are measured${storageKind === "emulated" ? " (storage is emulated)" : ""}; epochs of other settings are predicted from them.`,
    data: analysis,
  };

  function stagesSection({ measuredRates }: DataAnalysis): Section {
    const interval = ({ value, low, high }: { value: number; low: number; high: number }) => ({
      value,
      low,
      high,
    });
    return {
      id: "stages",
      heading: "What each stage can do",
      short: "Stages",
      blocks: [
        {
          kind: "charts",
          columns: 2,
          charts: [
            {
              title: "Seconds of an epoch by stage, alone",
              caption: "the longest is the epoch",
              svg: barChart({
                title: "Seconds of an epoch by stage",
                width: 430,
                format: "seconds",
                bars: (["compute", "prep", "fetch"] as const).map((stage) => ({
                  label: stage,
                  value: now.stages[stage],
                  emphasis: stage === now.bottleneck,
                })),
              }),
            },
            {
              title: "The epoch without a cache, measured",
              caption:
                analysis.splitOf === "command"
                  ? "of the command: differences of its runs"
                  : "of a job with an emulated accelerator: differences of its runs",
              svg: barChart({
                title: "Compute, prep stall and fetch stall without a cache",
                width: 430,
                format: "seconds",
                bars: [
                  { label: "compute", value: split.compute },
                  { label: "prep stall", ...interval(split.prepStall) },
                  { label: "fetch stall", ...interval(split.fetchStall) },
                ],
              }),
            },
          ],
        },
        {
          kind: "table",
          columns: [
            { header: "Rate", kind: "text" },
            { header: "Measured", kind: "number" },
            { header: "Unit", kind: "text" },
            { header: "n", kind: "number", format: "whole" },
          ],
          rows: [
            { cells: ["accelerators", rates.ingestionRate, "samples/s", null] },
            ...measuredRates.prep.map(
              ({ cores, samplesPerSecond }): Row => ({
                cells: [
                  `preparation, ${writeAmount("cores", cores)}`,
                  interval(samplesPerSecond),
                  "samples/s",
                  samplesPerSecond.n,
                ],
              }),
            ),
            mega("cache", measuredRates.cacheBytesPerSecond),
            mega(`storage (${storageKind})`, measuredRates.storageBytesPerSecond),
            ...(measuredRates.networkBytesPerSecond === null
              ? []
              : [mega("other servers' caches", measuredRates.networkBytesPerSecond)]),
          ],
          note: "Intervals hold the mean with 95 % (bootstrap over epochs).",
        },
        {
          kind: "table",
          caption: "The real storage by size and number of random reads in flight",
          columns: [
            { header: "Read", kind: "text" },
            { header: "In flight", kind: "number", format: "whole" },
            { header: "Rate", kind: "number", unit: "MB/s" },
            { header: "Reads", kind: "number", unit: "1/s" },
            { header: "p50", kind: "number", format: "seconds" },
            { header: "p99", kind: "number", format: "seconds" },
          ],
          rows: measuredRates.storageByPattern.map(
            (rate): Row => ({
              cells: [
                rate.size === "items" ? "whole items" : writeNumber(rate.size, "bytes"),
                rate.depth,
                rate.bytesPerSecond / 1e6,
                rate.operationsPerSecond,
                rate.latencySeconds.p50,
                rate.latencySeconds.p99,
              ],
            }),
          ),
        },
        ...analysis.remarks.map((text) => ({ kind: "note", text }) as const),
      ],
    };
  }
}

function mega(name: string, rate: { value: number; low: number; high: number; n: number }): Row {
  return {
    cells: [
      name,
      { value: rate.value / 1e6, low: rate.low / 1e6, high: rate.high / 1e6 },
      "MB/s",
      rate.n,
    ],
  };
}

function whatIfSection({ sufficient, questions, now }: DataAnalysis): Section {
  const estimateCells = (estimate: EpochEstimate) => [
    estimate.epochSeconds,
    now.epochSeconds / estimate.epochSeconds,
    estimate.stallShare,
    stageNames[estimate.bottleneck],
  ];
  return {
    id: "what-if",
    heading: "What would be enough",
    short: "What if",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Resource", kind: "text" },
          { header: "Now", kind: "text" },
          { header: "Answer", kind: "text" },
          { header: "Epoch", kind: "number", format: "seconds" },
          { header: "Faster by", kind: "number" },
          { header: "Stall", kind: "number", format: "percent" },
          { header: "Then waits for", kind: "text" },
        ],
        rows: [
          ...sufficient.map((answer) => ({
            cells: [
              resourceNames[answer.resource],
              writeAmount(answer.resource, answer.now),
              answerInBrief(answer),
              ...estimateCells(answer.estimate),
            ],
          })),
          ...questions.map(({ resource, value, estimate }) => ({
            cells: [
              resourceNames[resource],
              "",
              writeAmount(resource, value),
              ...estimateCells(estimate),
            ],
          })),
        ],
        note: "All else as it is. Of accelerators: the fastest that data keeps up with; of jobs: as many as it keeps up with.",
      },
    ],
  };
}

function cacheSection({ cacheCurve, policies, setting, dataset }: DataAnalysis): Section {
  return {
    id: "cache",
    heading: "Cache size and policy",
    short: "Cache",
    blocks: [
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Samples per second over the cached share of the data set",
            caption: `now ${writeNumber(Math.min(1, setting.cacheBytes / dataset.bytes), "percent")}`,
            svg: lineChart({
              title: "Throughput over cached share, by policy",
              width: 860,
              series: cacheCurve.map(({ policy, points }) => ({
                name: policyNames[policy],
                points: points.map(({ share, samplesPerSecond }) => ({
                  x: share,
                  y: samplesPerSecond,
                })),
              })),
              x: { label: "cached", format: "percent" },
              y: { label: "samples/s", format: "number" },
            }),
          },
        ],
      },
      {
        kind: "table",
        columns: [
          { header: "Policy", kind: "text" },
          { header: "Hits", kind: "number", format: "percent" },
          { header: "Epoch", kind: "number", format: "seconds" },
          { header: "Stall", kind: "number", format: "percent" },
          { header: "Enough cache", kind: "text" },
        ],
        rows: policies.map(({ policy, estimate, sufficientCacheBytes }) => ({
          cells: [
            policyNames[policy],
            1 - estimate.hits.storage,
            estimate.epochSeconds,
            estimate.stallShare,
            sufficientCacheBytes === null
              ? "no amount suffices"
              : sufficientCacheBytes === 0
                ? "none is needed"
                : writeNumber(sufficientCacheBytes, "bytes"),
          ],
        })),
        note: `With ${writeNumber(setting.cacheBytes, "bytes")}. Enough: fetching takes no longer than computing or preparing.`,
      },
    ],
  };
}

function jobsSection({ jobs }: DataAnalysis): Section {
  return {
    id: "jobs",
    heading: "Several jobs on this server",
    short: "Jobs",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Jobs", kind: "number", format: "whole" },
          { header: "Each for itself", kind: "number", unit: "samples/s per job" },
          { header: "Coordinated", kind: "number", unit: "samples/s per job" },
        ],
        rows: jobs.map((row) => ({ cells: [row.jobs, row.apart, row.coordinated] })),
        note: "Jobs over the same data set share its cache; each for itself they divide cores and storage.",
      },
    ],
  };
}
