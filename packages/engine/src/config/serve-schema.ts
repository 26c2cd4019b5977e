/**
 * The configuration of `millrace serve`, and of every command that opens an engine: schema, defaults, and the step from
 * what a person wrote to the plain options that engine and server trust. Nothing here touches a file or the machine.
 *
 * This file: the schema. Every key is optional but `model`.
 */
import { bytesField, secondsField } from "@millrace/core/config";
import { schedulers } from "@millrace/serving";
import { z } from "zod";

const count = z.int().min(1);
const milliseconds = z.number().positive();

const schedulerNames = Object.keys(schedulers) as [
  keyof typeof schedulers,
  ...(keyof typeof schedulers)[],
];

const schedulerName = z.enum(schedulerNames);

const scheduler = z
  .union([
    schedulerName.transform((type) => ({ type })),
    z.strictObject({
      type: schedulerName.optional().describe("Default: sarathi-serve."),
      chunkSize: count
        .optional()
        .describe(
          "Prompt tokens of a step beside the decodes. Smaller: shorter pauses, slower prompts. Default: 128.",
        ),
      batchSizeCap: count.optional().describe("Most sequences at once. Default: 32."),
      maxTokensInBatch: count.optional().describe("vllm-v0 and lightllm: most prompt tokens."),
      tile: count.optional().describe("Chunks are multiples of it. Default: the kernel's tile."),
      chunking: z
        .enum(["static", "dynamic", "chunk-plus-decodes", "slo"])
        .optional()
        .describe(
          "sarathi-serve: how the budget is set. slo needs `profile`. Default: chunk-plus-decodes.",
        ),
      dynamic: z
        .strictObject({
          low: count.default(64),
          high: count.default(512),
          stages: count.default(4),
          maxTokens: count.default(8192),
        })
        .optional(),
      targetTbtMs: milliseconds
        .optional()
        .describe("chunking slo: time between tokens to keep. Default: slo.tbtMs."),
      maxWaitingIters: count.optional().describe("lightllm: decode steps between admissions."),
    }),
  ])
  .describe("A scheduler, or a scheduler with its knobs.");

const kvName = z.enum(["vattention", "paged", "static"]);

const kv = z
  .union([
    kvName.transform((type) => ({ type })),
    z.strictObject({
      type: kvName.optional().describe("Default: vattention; static with libllama."),
      memory: bytesField
        .optional()
        .describe("Physical memory of the KV cache. Default: what is free beside the weights."),
      backend: z
        .enum(["auto", "memfd", "madvise", "plain", "cuda"])
        .optional()
        .describe(
          "How pages are mapped: memfd shares prefixes, madvise takes fewer mappings, cuda is for a CUDA device. Default: auto.",
        ),
      page: bytesField
        .optional()
        .describe(
          "vattention: a physical page, 4KiB to 2MiB, a power of two. Default: 64KiB, more where the system has too few mappings.",
        ),
      layout: z
        .enum(["per-layer", "sliced"])
        .optional()
        .describe("vattention: a tensor per layer, or all layers of a token together."),
      blockTokens: count.optional().describe("paged: tokens of a block. Default: 16."),
      prefixSharing: z
        .boolean()
        .optional()
        .describe("Requests that begin alike share pages. Default: true."),
      deferredReclamation: z.boolean().optional(),
      eagerSteps: count.optional().describe("Steps the background mapper looks ahead."),
      eagerGroups: count.optional().describe("Page groups it maps per step at most."),
    }),
  ])
  .describe("A KV cache type, or the type with its settings.");

const server = z.strictObject({
  host: z.string().min(1).optional().describe("Address to listen on. Default: 127.0.0.1."),
  port: z.int().min(0).max(65535).optional().describe("0 takes a free one. Default: 8080."),
  apiKeys: z.array(z.string().min(1)).optional().describe("Accepted bearer keys."),
  apiKeyFile: z.string().min(1).optional().describe("File with one accepted key per line."),
  adminKeys: z
    .array(z.string().min(1))
    .optional()
    .describe(
      "Bearer keys of the admin routes. Default: none; then only this machine may call them.",
    ),
  corsOrigins: z
    .array(z.string().min(1))
    .optional()
    .describe('Origins whose pages may call the server from a browser; "*" = all.'),
  ownGrammars: z
    .boolean()
    .optional()
    .describe("Whether clients may send GBNF grammars of their own. Default: true."),
  modelAliases: z.array(z.string().min(1)).optional(),
  anyModel: z.boolean().optional().describe("Ignore the `model` of requests."),
  maxBody: bytesField.optional().describe("Largest request body. Default: 16MiB."),
  requestTimeout: secondsField.optional(),
  maxChoices: count.optional().describe("Most choices of one request. Default: 128."),
  maxInFlight: count.optional().describe("Most choices at once; more are answered 429."),
  keepAlive: z
    .enum(["comment", "chunk", "off"])
    .optional()
    .describe("What silent streams are kept open with. Default: off."),
  drainTimeout: secondsField
    .optional()
    .describe("How long running requests may go on after SIGTERM. Default: 30s."),
});

export const serveSchema = z.strictObject({
  model: z.string().min(1).describe("GGUF file, the first of a split model."),
  name: z.string().min(1).optional().describe("Name shown to clients. Default: the model's own."),
  executor: z
    .enum(["auto", "ggml", "libllama"])
    .optional()
    .describe("auto: ggml where it knows the architecture, else libllama. Default: auto."),
  device: z.string().min(1).optional().describe("Device of ggml's registry. Default: the CPU."),
  threads: count.optional().describe("Compute threads. Default: the cores, less one above two."),
  contextTokens: count
    .optional()
    .describe("Most tokens of prompt and output. Default: the model's, at most 8192."),
  chatTemplate: z
    .string()
    .min(1)
    .optional()
    .describe(
      "File with a Jinja chat template, or a name (chatml, hermes, llama3, mistral, gemma), used instead of the model's own.",
    ),
  scheduler: scheduler.optional(),
  kv: kv.optional(),
  deterministic: z
    .boolean()
    .optional()
    .describe("A request's tokens do not depend on its batch mates; slower."),
  maxWaiting: count
    .optional()
    .describe("Waiting requests beyond which new ones get 429. Default: 256."),
  stepTimeout: secondsField.optional().describe("A longer step counts as hung. Default: 120s."),
  profile: z
    .string()
    .min(1)
    .optional()
    .describe("Step profile of `millrace profile`, for chunking slo."),
  slo: z
    .strictObject({ ttftMs: milliseconds.optional(), tbtMs: milliseconds.optional() })
    .optional()
    .describe("Targets of the fluidity-index in /metrics. Default: 2000 and 100."),
  server: server.optional(),
  logs: z
    .strictObject({
      decisions: z.string().min(1).optional().describe("Decision log; the simulator replays it."),
      timings: z.string().min(1).optional().describe("Timing log: one line per step."),
      requests: z.boolean().optional().describe("One line per request on stderr. Default: true."),
    })
    .optional(),
});

/** serve.yaml as a person writes it, after units were read. */
export type ServeInput = z.output<typeof serveSchema>;
