/** Schema of `kv`: how the memory of the KV cache is managed. */
import { MillraceError } from "@millrace/core";
import { z } from "zod";
import type { KvConfig, SchedulerConfig, SchedulerType } from "../types.ts";
import { count, size } from "./quantities.ts";

/** KV manager types in the order they are shown. */
export const kvTypes = [
  "paged",
  "vattention",
  "static",
] as const satisfies readonly KvConfig["type"][];

export const kvName = z.enum(kvTypes);

const smallestPage = 4096;
const largestPage = 2 * 1024 ** 2;

const kvObject = z
  .strictObject({
    type: kvName
      .optional()
      .describe(
        "Default: paged; static for orca and faster-transformer, which reserve per request.",
      ),
    blockSize: count.optional().describe("Tokens of a block. Default: 16; 1 for lightllm."),
    numBlocks: count
      .nullish()
      .describe(
        "Blocks per replica; for type static without blockSize, slots. Default: what the memory planner finds room for.",
      ),
    pageBytes: size
      .optional()
      .describe("vattention: a physical page, 4KiB to 2MiB. Default: 2MiB."),
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
        message: `${page} bytes is not a page size`,
        params: { hint: "take a power of two from 4KiB to 2MiB, e.g. 64KiB" },
      });
  });

/** `kv: paged`, or the type with its settings. */
export const kv = z
  .union([kvName.transform((type) => ({ type })), kvObject])
  .describe("A KV manager type, or the type with its settings.");
export type KvInput = z.output<typeof kv>;

/** Settings that were given and do nothing for the type. */
export function idleKvKeys(
  input: KvInput,
  scheduler: SchedulerType,
  compatibility: "none" | "vidur",
): readonly string[] {
  const given: z.output<typeof kvObject> = input;
  const type = kvTypeOf(input, scheduler, compatibility === "vidur");
  const idle: string[] = [];
  if (type !== "vattention" && given.pageBytes !== undefined) idle.push("pageBytes");
  if (type !== "vattention" && given.layout !== undefined) idle.push("layout");
  if (type === "vattention" && given.blockSize !== undefined) idle.push("blockSize");
  return idle;
}

/** Whether each request gets a reservation of the longest request, whatever it needs. */
function reserves(scheduler: SchedulerType): boolean {
  return scheduler === "orca" || scheduler === "faster-transformer";
}

function kvTypeOf(input: KvInput, scheduler: SchedulerType, vidur: boolean): KvConfig["type"] {
  // Vidur counts blocks for every scheduler, but these two take a whole request's worth at once (section 1.3).
  if (vidur && reserves(scheduler)) return "static";
  return input.type ?? (reserves(scheduler) ? "static" : "paged");
}

/** Fills every setting. Throws CONFIG_INVALID when numBlocks leaves no room for a single slot. */
export function resolveKv(
  input: KvInput,
  scheduler: SchedulerConfig,
  compatibility: "none" | "vidur" = "none",
): KvConfig {
  const given: z.output<typeof kvObject> = input;
  const type = kvTypeOf(input, scheduler.type, compatibility === "vidur");
  const blockSize = given.blockSize ?? (scheduler.type === "lightllm" ? 1 : 16);
  const asSlots = input.type === "static" && given.blockSize === undefined;
  let numBlocks = given.numBlocks ?? null;
  if (numBlocks !== null && type === "static" && !(asSlots && compatibility === "none")) {
    const slots = Math.floor(numBlocks / Math.ceil(scheduler.maxRequestTokens / blockSize));
    if (slots === 0)
      throw new MillraceError(
        "CONFIG_INVALID",
        `${numBlocks} blocks of ${blockSize} tokens hold no request of ${scheduler.maxRequestTokens} tokens`,
        { hint: "raise kv.numBlocks or lower scheduler.maxRequestTokens" },
      );
    numBlocks = slots;
  }
  return {
    type,
    blockSize,
    numBlocks,
    pageBytes: given.pageBytes ?? largestPage,
    layout: given.layout ?? "per-layer",
  };
}
