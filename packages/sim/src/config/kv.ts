/** Schema of `kv`: how the memory of the KV cache is managed. */
import { z } from "zod";
import type { KvConfig, SchedulerType } from "../types.ts";
import { count, size } from "./quantities.ts";

/** KV manager types in the order they are shown. */
export const kvTypes = ["paged", "vattention", "static"] as const satisfies readonly KvConfig["type"][];

export const kvName = z.enum(kvTypes);

const smallestPage = 4096;
const largestPage = 2 * 1024 ** 2;

const kvObject = z
  .strictObject({
    type: kvName
      .optional()
      .describe("Default: paged; static for orca and faster-transformer, which reserve per request."),
    blockSize: count.optional().describe("Tokens of a block. Default: 16; 1 for lightllm."),
    numBlocks: count
      .nullish()
      .describe("Blocks per replica. Default: what the memory planner finds room for."),
    pageBytes: size.optional().describe("vattention: a physical page, 4KiB to 2MiB. Default: 2MiB."),
    layout: z
      .enum(["per-layer", "sliced"])
      .optional()
      .describe("vattention: a tensor per layer, or all layers of a token together."),
  })
  .superRefine((kv, ctx) => {
    const page = kv.pageBytes;
    if (page === undefined) return;
    if (page < smallestPage || page > largestPage || !Number.isInteger(Math.log2(page)))
      ctx.addIssue({
        code: "custom",
        path: ["pageBytes"],
        message: `${page} bytes is not a power of two from 4KiB to 2MiB`,
      });
  });

/** `kv: paged`, or the type with its settings. */
export const kv = z
  .union([kvName.transform((type) => ({ type })), kvObject])
  .describe("A KV manager type, or the type with its settings.");
export type KvInput = z.output<typeof kv>;

/** Settings that were given and do nothing for the type. */
export function idleKvKeys(input: KvInput, scheduler: SchedulerType): readonly string[] {
  const given: z.output<typeof kvObject> = input;
  const type = kvTypeOf(input, scheduler);
  const idle: string[] = [];
  if (type !== "vattention" && given.pageBytes !== undefined) idle.push("pageBytes");
  if (type !== "vattention" && given.layout !== undefined) idle.push("layout");
  if (type === "vattention" && given.blockSize !== undefined) idle.push("blockSize");
  return idle;
}

function kvTypeOf(input: KvInput, scheduler: SchedulerType): KvConfig["type"] {
  if (input.type !== undefined) return input.type;
  return scheduler === "orca" || scheduler === "faster-transformer" ? "static" : "paged";
}

/** Fills every setting. */
export function resolveKv(input: KvInput, scheduler: SchedulerType): KvConfig {
  const given: z.output<typeof kvObject> = input;
  return {
    type: kvTypeOf(input, scheduler),
    blockSize: given.blockSize ?? (scheduler === "lightllm" ? 1 : 16),
    numBlocks: given.numBlocks ?? null,
    pageBytes: given.pageBytes ?? largestPage,
    layout: given.layout ?? "per-layer",
  };
}
