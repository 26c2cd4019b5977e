/** From a serve configuration to the options of engine and server: every default is here. */
import { MillraceError } from "@millrace/core";
import type { StepProfile } from "@millrace/serving";
import { namedTemplates } from "../chat/named-templates.ts";
import type { EngineKvOptions, EngineOptions } from "../contracts.ts";
import { backendFor } from "../kv-memory/backend.ts";
import { defaultServerOptions, type ServerOptions } from "../server/options.ts";
import type { ServeInput } from "./serve-schema.ts";

/** What a configuration needs from outside. */
export interface ServeContext {
  /** Cores that may be used. */
  readonly cores: number;
  /** Longest sequence that the model takes, tokens. */
  readonly modelContextTokens: number;
  /** Kernel tile of the executor, tokens. */
  readonly tileTokens: number;
  /** A file's path as seen from the configuration. */
  readonly filePath: (path: string) => string;
  readonly readText: (path: string) => string;
  readonly readProfile: (path: string) => StepProfile;
}

/** Everything `millrace serve` runs with. */
export interface ServeOptions {
  readonly engine: EngineOptions;
  /** All but the logger, which is the caller's. */
  readonly server: Omit<ServerOptions, "logger">;
  readonly drainTimeoutSeconds: number;
  readonly logRequests: boolean;
}

/** Sequences are bounded by default, so that one request cannot take the whole cache of a small machine. */
const DEFAULT_CONTEXT_TOKENS = 8192;
const PAGE_BYTES = { least: 4096, most: 2 * 1024 ** 2 };

/**
 * Fills every default. @throws MillraceError CONFIG_INVALID for combinations that cannot work, FILE_UNREADABLE,
 * PROFILE_INVALID.
 */
export function resolveServe(input: ServeInput, context: ServeContext): ServeOptions {
  const slo = {
    ttftMs: input.slo?.ttftMs ?? defaultServerOptions.slo.ttftMs,
    tbtMs: input.slo?.tbtMs ?? defaultServerOptions.slo.tbtMs,
  };
  const { filePath } = context;
  const logs = {
    ...(input.logs?.decisions === undefined ? {} : { decisions: filePath(input.logs.decisions) }),
    ...(input.logs?.timings === undefined ? {} : { timings: filePath(input.logs.timings) }),
  };
  const contextTokens =
    input.contextTokens ?? Math.min(context.modelContextTokens, DEFAULT_CONTEXT_TOKENS);
  return {
    engine: {
      modelPath: filePath(input.model),
      ...(input.name === undefined ? {} : { name: input.name }),
      executor: input.executor ?? "auto",
      ...(input.device === undefined ? {} : { device: input.device }),
      // A core stays free for the event loops of server and engine, where there are enough.
      threads: input.threads ?? Math.max(1, context.cores > 2 ? context.cores - 1 : context.cores),
      contextTokens,
      scheduler: resolveScheduler(input, context, slo.tbtMs),
      kv: resolveKv(input),
      maxWaiting: input.maxWaiting ?? 256,
      deterministic: input.deterministic ?? false,
      logs,
      ...(input.profile === undefined
        ? {}
        : { profile: context.readProfile(filePath(input.profile)) }),
      stepTimeoutSeconds: input.stepTimeout ?? 120,
    },
    server: resolveServer(input, context, slo),
    drainTimeoutSeconds: input.server?.drainTimeout ?? 30,
    logRequests: input.logs?.requests ?? true,
  };
}

function resolveScheduler(
  input: ServeInput,
  context: ServeContext,
  tbtMs: number,
): EngineOptions["scheduler"] {
  const given: Exclude<ServeInput["scheduler"], undefined | { type: string }> =
    input.scheduler ?? {};
  const type = given.type ?? "sarathi-serve";
  const tile = given.tile ?? context.tileTokens;
  const chunking = given.chunking ?? "chunk-plus-decodes";
  const chunkSize = given.chunkSize ?? defaultChunk(type, tile);
  if (chunking === "slo" && input.profile === undefined)
    throw invalid(
      "scheduler.chunking slo needs a step profile",
      "measure one with millrace profile --model FILE --out profile.json and name it as profile",
    );
  if (type === "sarathi-serve" && chunking === "chunk-plus-decodes" && chunkSize < tile)
    throw invalid(
      `scheduler.chunkSize ${chunkSize} is less than the tile of ${tile} tokens`,
      `give a multiple of ${tile}, or scheduler.tile 1`,
    );
  return {
    type,
    chunkSize,
    batchSizeCap: given.batchSizeCap ?? 32,
    maxTokensInBatch: given.maxTokensInBatch ?? 4096,
    tile,
    chunking,
    dynamic: given.dynamic ?? { low: 64, high: 512, stages: 4, maxTokens: 8192 },
    targetTbt: (given.targetTbtMs ?? tbtMs) / 1000,
    maxWaitingIters: given.maxWaitingIters ?? 10,
  };
}

/** vllm-v1's budget counts decodes too, so it is larger; the others keep pauses short. */
function defaultChunk(type: EngineOptions["scheduler"]["type"], tile: number): number {
  return type === "vllm-v1" ? 512 : Math.max(128, tile);
}

function resolveKv(input: ServeInput): EngineKvOptions {
  const given: Exclude<ServeInput["kv"], undefined | { type: string }> = input.kv ?? {};
  const { page } = given;
  if (
    page !== undefined &&
    (page < PAGE_BYTES.least || page > PAGE_BYTES.most || !Number.isInteger(Math.log2(page)))
  )
    throw invalid(`kv.page is ${page} bytes`, "take a power of two from 4KiB to 2MiB, e.g. 64KiB");
  const type = given.type ?? "vattention";
  const backend = given.backend ?? "auto";
  const prefixSharing = given.prefixSharing ?? true;
  // libllama's memory is its own; with auto the engine asks again, once it knows which of the two it is.
  if (input.executor !== "libllama")
    backendFor({ type, backend, prefixSharing }, input.device, true);
  return {
    type,
    backend,
    ...(given.memory === undefined ? {} : { memoryBytes: given.memory }),
    ...(page === undefined ? {} : { pageBytes: page }),
    layout: given.layout ?? "per-layer",
    blockTokens: given.blockTokens ?? 16,
    prefixSharing,
    deferredReclamation: given.deferredReclamation ?? true,
    eagerSteps: given.eagerSteps ?? 10,
    eagerGroups: given.eagerGroups ?? 2,
  };
}

function resolveServer(
  input: ServeInput,
  context: ServeContext,
  slo: ServerOptions["slo"],
): ServeOptions["server"] {
  const given = input.server ?? {};
  const { logger: _, ...defaults } = defaultServerOptions;
  const fileKeys =
    given.apiKeyFile === undefined
      ? []
      : context
          .readText(context.filePath(given.apiKeyFile))
          .split("\n")
          .map((line) => line.trim())
          .filter((line) => line !== "");
  if (given.apiKeyFile !== undefined && fileKeys.length === 0)
    throw invalid(
      `server.apiKeyFile ${given.apiKeyFile} holds no key`,
      "write one key per line, or leave it out",
    );
  return {
    ...defaults,
    host: given.host ?? defaults.host,
    port: given.port ?? defaults.port,
    apiKeys: [...(given.apiKeys ?? []), ...fileKeys],
    adminKeys: given.adminKeys ?? defaults.adminKeys,
    corsOrigins: given.corsOrigins ?? defaults.corsOrigins,
    ownGrammars: given.ownGrammars ?? defaults.ownGrammars,
    chatTemplate: resolveTemplate(input.chatTemplate, context),
    modelAliases: given.modelAliases ?? defaults.modelAliases,
    anyModel: given.anyModel ?? defaults.anyModel,
    maxBodyBytes: given.maxBody ?? defaults.maxBodyBytes,
    requestTimeoutSeconds: given.requestTimeout ?? defaults.requestTimeoutSeconds,
    maxChoices: given.maxChoices ?? defaults.maxChoices,
    maxInFlight: given.maxInFlight ?? defaults.maxInFlight,
    keepAlive: given.keepAlive ?? defaults.keepAlive,
    slo,
  };
}

/** A name stays a name; anything else is a file. */
function resolveTemplate(given: string | undefined, context: ServeContext): string | null {
  if (given === undefined) return null;
  return Object.hasOwn(namedTemplates, given) ? given : context.readText(context.filePath(given));
}

function invalid(what: string, hint: string): MillraceError {
  return new MillraceError("CONFIG_INVALID", what, { hint });
}
