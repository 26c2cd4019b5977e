/** Schema of `scheduler`: the type, its knobs, which type has which knob, and the defaults. */
import { z } from "zod";
import type { SchedulerConfig, SchedulerType } from "../types.ts";
import { count, positive, share } from "./quantities.ts";

/** Scheduler types in the order they are shown. */
export const schedulerTypes = [
  "vllm-v1",
  "vllm-v0",
  "sarathi-serve",
  "sarathi",
  "simple-chunking",
  "orca",
  "faster-transformer",
  "lightllm",
] as const satisfies readonly SchedulerType[];

/** Type names a file may use: the types, and `vllm` for vllm-v0. */
export const schedulerName = z
  .enum([...schedulerTypes, "vllm"])
  .transform((type): SchedulerType => (type === "vllm" ? "vllm-v0" : type));

const knobs = {
  chunkSize: count.optional(),
  batchSizeCap: count.optional(),
  maxTokensInBatch: count.optional(),
  watermark: share.optional(),
  tile: count.optional(),
  chunking: z.enum(["static", "dynamic", "chunk-plus-decodes", "slo"]).optional(),
  dynamic: z
    .strictObject({
      low: count.default(256),
      high: count.default(2048),
      stages: count.default(4),
      maxTokens: count.default(16384),
    })
    .optional(),
  targetTbtMs: positive.optional(),
  maxWaitingIters: count.optional(),
  maxRequestTokens: count.optional(),
} as const;
type Knob = keyof typeof knobs;

/** Types that split prompts into chunks. */
export const chunkedSchedulers: readonly SchedulerType[] = [
  "vllm-v1",
  "sarathi-serve",
  "sarathi",
  "simple-chunking",
];

/** What a knob does and which types have it. A template knob on another type is ignored with a warning, any other is an error. */
export const knobTable: Readonly<
  Record<Knob, { text: string; types: readonly SchedulerType[]; template: boolean }>
> = {
  chunkSize: {
    text: "Token budget of a batch (vllm-v1, sarathi-serve) or size of a prefill chunk (sarathi, simple-chunking). Default: 2048; 512 in Vidur mode.",
    types: chunkedSchedulers,
    template: true,
  },
  batchSizeCap: {
    text: "Most sequences in a batch. Default: 256 for vllm and lightllm, else 128; 128 in Vidur mode.",
    types: schedulerTypes,
    template: true,
  },
  maxTokensInBatch: {
    text: "Most prompt tokens in a batch (vllm-v0: count times longest prompt; lightllm: prompt tokens); for vllm-v1 another name of chunkSize. Default: the longest request, at least 4096.",
    types: ["vllm-v0", "lightllm", "vllm-v1"],
    template: true,
  },
  watermark: {
    text: "Share of the KV blocks kept free at admission. Default: 0.01.",
    types: [...chunkedSchedulers, "vllm-v0"],
    template: true,
  },
  tile: {
    text: "Chunks are cut to multiples of this many tokens, so that matrix tiles are full. Default: 1.",
    types: ["sarathi", "sarathi-serve"],
    template: false,
  },
  chunking: {
    text: "How the token budget is set: a constant, falling over the prompt, chunk beside the decodes, or solved for a TBT target. Default: static.",
    types: ["sarathi-serve"],
    template: false,
  },
  dynamic: {
    text: "For chunking dynamic: the budget falls from high to low in this many stages over maxTokens prompt tokens.",
    types: ["sarathi-serve"],
    template: false,
  },
  targetTbtMs: {
    text: "For chunking slo: the TBT in milliseconds that the budget is solved for. Default: the TBT limit under slo.",
    types: ["sarathi-serve"],
    template: false,
  },
  maxWaitingIters: {
    text: "Decode iterations before prompts are admitted again. Default: 10.",
    types: ["lightllm"],
    template: false,
  },
  maxRequestTokens: {
    text: "Longest request in tokens; orca, faster-transformer and static KV reserve this much per request. Default: the longest request of the workload, at least 4096.",
    types: schedulerTypes,
    template: false,
  },
};

/** The knobs of all schedulers, each with its text. */
export const describedKnobs = Object.fromEntries(
  Object.entries(knobs).map(([knob, schema]) => [
    knob,
    schema.describe(knobTable[knob as Knob].text),
  ]),
) as typeof knobs;

interface GivenKnobs {
  readonly type: SchedulerType;
  readonly chunkSize?: number | undefined;
  readonly maxTokensInBatch?: number | undefined;
  readonly chunking?: string | undefined;
  readonly targetTbtMs?: number | undefined;
  readonly dynamic?: { readonly low: number; readonly high: number } | undefined;
}

/** Adds an issue for each knob that the type does not have or that lacks its counterpart. */
export function checkKnobs(s: GivenKnobs, ctx: z.RefinementCtx): void {
  const given = s as unknown as Readonly<Record<string, unknown>>;
  for (const [knob, { types, template }] of Object.entries(knobTable)) {
    if (given[knob] === undefined || template || types.includes(s.type)) continue;
    ctx.addIssue({
      code: "custom",
      path: [knob],
      message: `${s.type} has no such knob`,
      params: {
        hint: `${knob} belongs to ${types.join(", ")}; remove it or change scheduler.type`,
      },
    });
  }
  if (s.dynamic !== undefined && s.chunking !== "dynamic")
    ctx.addIssue({
      code: "custom",
      path: ["dynamic"],
      message: "needs chunking: dynamic",
      params: { hint: "add chunking: dynamic beside it" },
    });
  if (s.dynamic !== undefined && s.dynamic.low > s.dynamic.high)
    ctx.addIssue({
      code: "custom",
      path: ["dynamic", "low"],
      message: `${s.dynamic.low} is above high ${s.dynamic.high}`,
      params: {
        hint: "low is the budget at the end of a long prompt, high the one at its start",
      },
    });
  if (s.targetTbtMs !== undefined && s.chunking !== "slo")
    ctx.addIssue({
      code: "custom",
      path: ["targetTbtMs"],
      message: "needs chunking: slo",
      params: { hint: "add chunking: slo beside it" },
    });
  if (s.type === "vllm-v1" && s.chunkSize !== undefined && s.maxTokensInBatch !== undefined)
    if (s.chunkSize !== s.maxTokensInBatch)
      ctx.addIssue({
        code: "custom",
        path: ["maxTokensInBatch"],
        message: `${s.maxTokensInBatch} is not chunkSize ${s.chunkSize}, and for vllm-v1 they are one thing`,
        params: { hint: "give one of them" },
      });
}

const schedulerObject = z
  .strictObject({ type: schedulerName.default("vllm-v1"), ...describedKnobs })
  .superRefine(checkKnobs);

/** `scheduler: sarathi`, or the type with its knobs. */
export const scheduler = z
  .union([schedulerName.transform((type) => ({ type })), schedulerObject])
  .describe("A scheduler type, or the type with its knobs.");
export type SchedulerInput = z.output<typeof scheduler>;

/** Template knobs that were given to a type that has no use for them, as `knob` names. */
export function idleKnobs(input: SchedulerInput): readonly string[] {
  const given = input as Readonly<Record<string, unknown>>;
  return Object.entries(knobTable)
    .filter(([knob, { types }]) => given[knob] !== undefined && !types.includes(input.type))
    .map(([knob]) => knob);
}

/** What the defaults of a scheduler depend on. */
export interface SchedulerSetting {
  readonly compatibility: "none" | "vidur";
  /** Longest request the run will see in tokens (prompt and output); null when unknown. */
  readonly longestRequest: number | null;
  readonly maxContext: number;
  /** TBT limit of the SLO in seconds; null when there is none. */
  readonly tbtLimit: number | null;
}

const largeBatch: readonly SchedulerType[] = ["vllm-v1", "vllm-v0", "lightllm"];

/** Fills every knob. */
export function resolveScheduler(
  input: SchedulerInput,
  setting: SchedulerSetting,
): SchedulerConfig {
  const s: z.output<typeof schedulerObject> = input;
  const vidur = setting.compatibility === "vidur";
  // Vidur calls the scheduler of Sarathi-Serve "sarathi" and has none of the first paper.
  const type = vidur && s.type === "sarathi" ? "sarathi-serve" : s.type;
  const longest = Math.ceil((setting.longestRequest ?? 0) / 1024) * 1024;
  const maxRequestTokens =
    s.maxRequestTokens ?? (vidur ? 4096 : Math.min(setting.maxContext, Math.max(4096, longest)));
  const v1Budget = s.type === "vllm-v1" ? s.maxTokensInBatch : undefined;
  const chunkSize = s.chunkSize ?? v1Budget ?? (vidur ? 512 : 2048);
  return {
    type,
    chunkSize,
    batchSizeCap: s.batchSizeCap ?? (!vidur && largeBatch.includes(s.type) ? 256 : 128),
    maxTokensInBatch: s.maxTokensInBatch ?? (vidur ? 4096 : Math.max(4096, maxRequestTokens)),
    watermark: s.watermark ?? 0.01,
    tile: s.tile ?? 1,
    chunking: s.chunking ?? "static",
    dynamic: s.dynamic ?? { low: 256, high: 2048, stages: 4, maxTokens: 16384 },
    targetTbt: s.targetTbtMs === undefined ? (setting.tbtLimit ?? 0.1) : s.targetTbtMs / 1000,
    maxWaitingIters: s.maxWaitingIters ?? 10,
    maxRequestTokens,
  };
}
