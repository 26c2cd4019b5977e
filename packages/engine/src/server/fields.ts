/** Request fields: what is taken, its ranges, what is refused with a word, and what is ignored with a warning. */
import { z } from "zod";
import { badRequest } from "./api-error.ts";

const stopText = z.string().min(1).max(1000);
const tokenId = z.int().min(0);

/** Fields that both generating endpoints share; a top-level null counts as absent. */
export const generationFields = {
  model: z.string().max(1000).optional(),
  n: z.int().min(1).max(1024).default(1),
  best_of: z.int().min(1).optional(),
  stream: z.boolean().default(false),
  stream_options: z
    .looseObject({
      include_usage: z.boolean().nullish(),
      continuous_usage_stats: z.boolean().nullish(),
      include_timings: z.boolean().nullish(),
    })
    .optional(),
  max_tokens: z.int().min(0).optional(),
  max_completion_tokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(100).default(1),
  top_p: z.number().min(0).max(1).default(1),
  top_k: z.int().min(-1).default(0),
  min_p: z.number().min(0).max(1).default(0),
  repetition_penalty: z.number().gt(0).max(100).default(1),
  presence_penalty: z.number().min(-2).max(2).default(0),
  frequency_penalty: z.number().min(-2).max(2).default(0),
  logit_bias: z.record(z.string(), z.number().min(-100).max(100)).optional(),
  seed: z.int().optional(),
  stop: z.union([stopText, z.array(stopText).max(16)]).optional(),
  stop_token_ids: z.array(tokenId).max(64).default([]),
  ignore_eos: z.boolean().default(false),
  min_tokens: z.int().min(0).default(0),
  priority: z.int().min(-1_000_000).max(1_000_000).default(0),
  deadline_ms: z.number().gt(0).max(1e12).optional(),
  response_format: z
    .looseObject({
      type: z.enum(["text", "json_object", "json_schema"]),
      json_schema: z
        .looseObject({ name: z.string().optional(), schema: z.unknown().optional() })
        .optional(),
    })
    .optional(),
  grammar: z.string().min(1).max(1_000_000).optional(),
  return_token_ids: z.boolean().default(false),
  // Bookkeeping of OpenAI's own service; taken without effect.
  user: z.unknown().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
} as const;

const generation = z.object(generationFields);
/** The shared fields after parsing, defaults filled in. */
export type GenerationFields = z.infer<typeof generation>;

function withoutNulls(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

function firstIssue(error: z.ZodError): { path: string; message: string } {
  const issue = error.issues[0];
  if (issue === undefined) return { path: "", message: "is not valid" };
  const path = issue.path.map(String).join(".");
  const message = issue.message
    .replace(/^Invalid input: /, "")
    .replace(/^Too (?=big|small)/, "too ");
  return { path, message };
}

/** Fields of `body` by `shape`, and the names of those that the shape does not know. Throws ApiError 400 with the path. */
export function parseFields<T extends z.ZodRawShape>(
  shape: z.ZodObject<T>,
  body: Record<string, unknown>,
): { readonly fields: z.infer<z.ZodObject<T>>; readonly ignored: readonly string[] } {
  const given = withoutNulls(body);
  const parsed = shape.safeParse(given);
  if (!parsed.success) {
    const { path, message } = firstIssue(parsed.error);
    throw badRequest(
      `\`${path.slice(0, 200)}\`: ${message.slice(0, 300)}.`,
      path.slice(0, 200),
      "invalid_value",
    );
  }
  const ignored = Object.keys(given).filter((name) => !Object.hasOwn(shape.shape, name));
  const nested = (given as { stream_options?: unknown }).stream_options;
  if (
    typeof nested === "object" &&
    nested !== null &&
    Object.hasOwn(shape.shape, "stream_options")
  ) {
    for (const name of Object.keys(nested)) {
      if (!["include_usage", "continuous_usage_stats", "include_timings"].includes(name)) {
        ignored.push(`stream_options.${name}`);
      }
    }
  }
  return { fields: parsed.data, ignored };
}

/** Input of prompts and embeddings: one text, several, one token array, or several. */
export const promptField = z.union([
  z.string(),
  z.array(z.string()).min(1).max(2048),
  z.array(tokenId).min(1),
  z.array(z.array(tokenId).min(1)).min(1).max(2048),
]);
