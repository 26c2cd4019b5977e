/** Schema of plan.yaml, the question that `millrace plan` answers. */
import { z } from "zod";
import { deviceRef, modelRef, precision } from "./hardware.ts";
import { kv, kvName } from "./kv.ts";
import { count, name, positive } from "./quantities.ts";
import { shared } from "./run.ts";
import { checkKnobs, describedKnobs, scheduler, schedulerName } from "./scheduler.ts";
import { slo } from "./slo.ts";

const list = <T extends z.ZodType>(item: T, what: string) =>
  z.array(item).min(1, "needs at least one entry").optional().describe(what);

const load = z
  .strictObject({
    qps: positive.describe("Requests per second on average."),
    peakFactor: z.number().min(1).default(1).describe("Peak load over average load."),
    spareReplicas: z.int().min(0).default(0).describe("Replicas that may fail without a breach."),
  })
  .describe("The load that has to be carried.");

const { chunkSize: _, batchSizeCap: __, ...otherKnobs } = describedKnobs;

/** A scheduler of the space with values of its own for what is searched, and knobs that are not searched. */
export const schedulerEntry = z
  .strictObject({
    type: schedulerName,
    chunkSizes: list(count, "Chunk sizes to try. Default: space.chunkSizes."),
    batchSizeCaps: list(count, "Batch size caps to try. Default: space.batchSizeCaps."),
    ...otherKnobs,
  })
  .superRefine(checkKnobs);

const space = z
  .strictObject({
    devices: list(deviceRef, "Devices to choose from. Default: a100-80gb, h100."),
    tensorParallel: list(count, "Default: 1, 2, 4, 8."),
    pipelineParallel: list(count, "Default: 1, 2."),
    schedulers: list(
      z.union([schedulerName, schedulerEntry]),
      "Scheduler types, or a type with its own chunk sizes and caps. Default: vllm-v1, sarathi-serve.",
    ),
    chunkSizes: list(count, "Token budgets for schedulers that chunk. Default: 512, 1024, 2048."),
    batchSizeCaps: list(count, "Most sequences in a batch. Default: 128, 256."),
    kv: list(kvName, "KV managers. Default: paged."),
    precision: list(precision, "Number formats. Default: fp16 weights and KV."),
  })
  .describe("What the search may choose.");

const current = z
  .strictObject({
    device: deviceRef,
    tensorParallel: count.default(1),
    pipelineParallel: count.default(1),
    replicas: count.optional(),
    precision: precision.default({ weights: "fp16", kv: "fp16" }),
    scheduler: scheduler.default({ type: "vllm-v1" }),
    kv: kv.default({}),
  })
  .describe("What runs today; judged by the same rules and compared with the winner.");

const search = z
  .strictObject({
    screening: z
      .strictObject({ requests: z.int().min(1000).default(1000) })
      .default({ requests: 1000 })
      .describe("Every configuration that fits is simulated with this many requests per probe."),
    confirmation: z
      .strictObject({
        requests: count.default(20_000),
        seeds: count.default(3),
        finalists: count.default(20),
      })
      .default({ requests: 20_000, seeds: 3, finalists: 20 })
      .describe("The best are simulated again, longer and with several seeds."),
    resolution: z
      .number()
      .min(0.001)
      .max(0.5)
      .default(0.02)
      .describe("Relative width at which the search for a capacity stops."),
    predictorErrorPercent: z
      .number()
      .min(0)
      .max(90)
      .optional()
      .describe(
        "Would the winner change if predicted times were off by this much? Default: what the profile says of itself, else 10.",
      ),
  })
  .describe("How hard the search looks.");

/** plan.yaml. */
export const planSchema = z
  .strictObject({
    model: modelRef,
    load: load.optional(),
    space: space.default({}),
    prices: z
      .record(name, z.number().min(0))
      .default({})
      .describe("Dollars per device and hour that replace the catalogue's, by device name."),
    fleet: z
      .strictObject({ device: deviceRef, gpus: count })
      .optional()
      .describe("Devices that are there already: ask how much load they carry."),
    current: current.optional(),
    search: search.default({
      screening: { requests: 1000 },
      confirmation: { requests: 20_000, seeds: 3, finalists: 20 },
      resolution: 0.02,
    }),
    ...shared,
    slo: slo
      .default({ ttftMs: { p90: 2000 }, tbtMs: { p99: 200 } })
      .describe("What has to hold. Default: TTFT p90 of 2 s and TBT p99 of 200 ms."),
  })
  .superRefine((plan, ctx) => {
    if (plan.load === undefined && plan.fleet === undefined)
      ctx.addIssue({
        code: "custom",
        path: ["load"],
        message: "missing, and there is no fleet either",
        params: { hint: "give load.qps, or fleet to ask how much load a fleet carries" },
      });
    if (Object.values(plan.slo).every((limit) => limit === undefined))
      ctx.addIssue({
        code: "custom",
        path: ["slo"],
        message: "has no entry",
        params: {
          hint: "give a limit such as tbtMs: 200; without one every configuration carries any load",
        },
      });
  })
  .describe("A question for `millrace plan`: the cheapest deployment that keeps the SLO.");

/** plan.yaml as parsed. */
export type PlanInput = z.output<typeof planSchema>;
