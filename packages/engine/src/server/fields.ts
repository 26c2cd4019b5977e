/** Request fields: what is taken, its ranges, what is refused with a word, and what is ignored with a warning. */
import { z } from "zod";
import { badRequest } from "./api-error.ts";
import { constraintFields } from "./constraint.ts";

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
  ...constraintFields,
  return_token_ids: z.boolean().default(false),
  return_tokens_as_token_ids: z.boolean().default(false),
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

/** One prompt: text or token ids. */
export type Prompt = string | readonly number[];
/** Prompts of a request. */
export type Prompts = readonly Prompt[];

const mostPrompts = 2048;
const isToken = (value: unknown) =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 31;
const isTokens = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && value.every(isToken);

function isPromptField(value: unknown): boolean {
  if (typeof value === "string") return true;
  if (!Array.isArray(value) || value.length === 0) return false;
  if (typeof value[0] === "number") return isTokens(value);
  if (value.length > mostPrompts) return false;
  return typeof value[0] === "string"
    ? value.every((one) => typeof one === "string")
    : value.every(isTokens);
}

/** Input of prompts and embeddings: one text, several, one token array, or several. Checked by hand: token arrays are long. */
export const promptField = z.custom<
  string | readonly string[] | readonly number[] | readonly (readonly number[])[]
>(
  isPromptField,
  `must be a text, an array of token ids, or an array of at most ${mostPrompts} of one of them`,
);

/** The prompts of a field that `promptField` has let through. */
export function promptsOf(field: z.infer<typeof promptField>): Prompts {
  if (typeof field === "string") return [field];
  return typeof field[0] === "number" ? [field as readonly number[]] : (field as Prompts);
}
