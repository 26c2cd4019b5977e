/**
 * Puts an engine together: executor, KV policy and memory, vocabulary, scheduler, loop. This is the module that the
 * engine's process loads; it exports `createEngine` and nothing else.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { GrammarSampler, LlamaModel } from "@millrace/ggml/llama";
import {
  PrefixKeyer,
  ProfileCost,
  SeqTable,
  type StepCostModel,
  VattentionKv,
} from "@millrace/serving";
import type { CreateEngine, EngineOptions } from "../contracts.ts";
import { Embedder } from "../executor/libllama/index.ts";
import { readModelCard, readPooling } from "../executor/model-card.ts";
import { type OpenedExecutor, openExecutor } from "../executor/open-executor.ts";
import { checkGrammarSyntax } from "../grammar/index.ts";
import { LocalEngine } from "./local-engine.ts";

export const createEngine: CreateEngine = async (options, hooks) => {
  checkOptions(options);
  const held: Disposable[] = [];
  const hold = <T extends Disposable>(part: T): T => {
    held.unshift(part);
    return part;
  };
  const dispose = (): void => {
    for (const part of held.splice(0)) part[Symbol.dispose]();
  };
  try {
    const card = readModelCard(options.modelPath);
    const contextTokens = Math.min(options.contextTokens ?? card.contextTokens, card.contextTokens);
    hooks.onProgress?.("reading the vocabulary");
    const { vocabulary } = hold(new LlamaModel(options.modelPath, { vocabularyOnly: true }));
    const table = new SeqTable(options.scheduler.batchSizeCap + options.maxWaiting);
    const opened = await openExecutor({ ...options, contextTokens }, table, (what) =>
      hooks.onProgress?.(what),
    );
    hold(opened.executor);
    const pooling = readPooling(options.modelPath);
    const embedder =
      pooling === null
        ? null
        : hold(
            new Embedder({
              modelPath: options.modelPath,
              pooling,
              inputTokens: contextTokens,
              threads: options.threads,
            }),
          );
    return new LocalEngine({
      executor: opened.executor,
      ...(options.name === undefined ? {} : { name: options.name }),
      vocabulary,
      table,
      kv: opened.kv,
      ...keyerFor(opened),
      scheduler: options.scheduler,
      cost: costOf(options),
      contextTokens,
      maxWaiting: options.maxWaiting,
      stepTimeoutSeconds: options.stepTimeoutSeconds,
      hooks,
      logs: options.logs ?? {},
      grammar: (gbnf) => {
        checkGrammarSyntax(gbnf);
        return new GrammarSampler(vocabulary, gbnf);
      },
      ...(embedder === null ? {} : { embed: (inputs, signal) => embedder.embed(inputs, signal) }),
      dispose,
    });
  } catch (error) {
    dispose();
    throw error;
  }
};

/** Remembers a few times the prefixes that the cache can hold. */
function keyerFor({ kv, sharesPrefixes }: OpenedExecutor): { readonly prefixKeyer?: PrefixKeyer } {
  if (!sharesPrefixes || !(kv instanceof VattentionKv)) return {};
  return { prefixKeyer: new PrefixKeyer(kv.runTokens, 4 * kv.pages) };
}

/** Throws CONFIG_INVALID for what no engine can run with. */
function checkOptions(options: EngineOptions): void {
  const counts = {
    threads: options.threads,
    maxWaiting: options.maxWaiting,
    "scheduler.batchSizeCap": options.scheduler.batchSizeCap,
    "scheduler.chunkSize": options.scheduler.chunkSize,
    contextTokens: options.contextTokens ?? 1,
  };
  for (const [name, value] of Object.entries(counts))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new MillraceError(
        "CONFIG_INVALID",
        `${name} is ${value}, but must be a whole number of at least 1`,
      );
}

function costOf({ profile, scheduler }: EngineOptions): StepCostModel {
  if (profile !== undefined) return new ProfileCost(profile);
  if (scheduler.chunking === "slo")
    throw new MillraceError("CONFIG_INVALID", "chunking slo needs a step profile", {
      hint: "measure one with millrace profile",
    });
  return {
    stepSeconds: () => {
      throw new InvariantError("a scheduler asked for step costs without a profile");
    },
  };
}
