/** Schema of run.yaml, the deployment that `millrace simulate` runs. */
import { z } from "zod";
import { deviceRef, modelRef, ownDevices, ownModels, precision } from "./hardware.ts";
import { kv } from "./kv.ts";
import { count } from "./quantities.ts";
import { scheduler } from "./scheduler.ts";
import { fluidity, slo } from "./slo.ts";
import { workload } from "./workload.ts";

/** Predictor types in the order they are shown. */
export const predictorTypes = ["roofline", "profile", "vidur-profiles", "vidur-tables"] as const;

export const predictor = z
  .union([
    z.enum(predictorTypes).transform((type) => ({ type })),
    z.strictObject({
      type: z.enum(predictorTypes).default("roofline"),
      path: z
        .string()
        .min(1)
        .optional()
        .describe("Folder or file of tables and profiles, relative to this file."),
      prefix: z
        .string()
        .min(1)
        .optional()
        .describe("vidur-tables: file name prefix. Default: default."),
    }),
  ])
  .superRefine((p, ctx) => {
    const path = "path" in p ? p.path : undefined;
    if (p.type !== "roofline" && path === undefined)
      ctx.addIssue({
        code: "custom",
        path: [],
        message: `${p.type} reads files, and none are named`,
        params: { hint: "set predictor.path to their folder" },
      });
  })
  .describe("What predicts the time of a step.");

const switches = z.strictObject({
  host: z.boolean().optional().describe("Scheduling and kernel launches on the host."),
  lmHead: z.boolean().optional().describe("The projection to the vocabulary."),
  sampling: z.boolean().optional().describe("Choosing the next token."),
});
export const overheads = z
  .union([z.boolean(), switches])
  .describe("Terms that Vidur leaves out. Default: all on; all off with compatibility vidur.");

export const routings = ["round-robin", "random", "least-outstanding", "power-of-two"] as const;
export const routing = z.enum(routings).describe("How requests are spread over replicas.");
export const compatibility = z
  .enum(["none", "vidur"])
  .describe("vidur: the published simulator's arithmetic, its simplifications included.");

/** Keys that run.yaml and plan.yaml share. */
export const shared = {
  $schema: z.string().optional().describe("Ignored; for editors."),
  predictor: predictor.default({ type: "roofline" }),
  overheads: overheads.optional(),
  compatibility: compatibility.default("none"),
  workload: workload.optional(),
  slo: slo.default({}),
  fluidity: fluidity.default({}),
  devices: ownDevices,
  models: ownModels,
  seed: z.int().min(0).default(42),
} as const;

/** run.yaml. */
export const runSchema = z
  .strictObject({
    model: modelRef,
    device: deviceRef,
    tensorParallel: count.default(1).describe("Devices that share each layer."),
    pipelineParallel: count.default(1).describe("Stages of consecutive layers."),
    replicas: count.default(1),
    precision: precision.default({ weights: "fp16", kv: "fp16" }),
    scheduler: scheduler.default({ type: "vllm-v1" }),
    kv: kv.default({}),
    routing: routing.default("round-robin"),
    ...shared,
  })
  .describe("A deployment and its load, for `millrace simulate`.");

/** run.yaml as parsed. */
export type RunInput = z.output<typeof runSchema>;
