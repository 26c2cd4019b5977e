/**
 * An engine in this process: requests over one driver. Owns the requests from generate to their last event and gives
 * everything back with it; tensors, pages and plans are the affair of executor, KV manager and scheduler.
 */
import { type Clock, MillraceError, WallClock } from "@millrace/core";
import { DECISIONS_SCHEMA, kvSettingsOf, type StepPlan, VattentionKv } from "@millrace/serving";
import type {
  EngineClient,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  ModelCard,
  StepTiming,
} from "../contracts.ts";
import { Sampler } from "../sampling/index.ts";
import { answered, crashed, messageOf, refusal } from "./active-request.ts";
import { Driver } from "./driver.ts";
import { EngineLogs } from "./engine-logs.ts";
import type { GrammarState } from "./generation.ts";
import type { LocalEngineParts } from "./local-engine-parts.ts";
import { RequestBook } from "./request-book.ts";
import { checkRequest } from "./request-check.ts";
import { changedSettings } from "./scheduler-settings.ts";
import { later } from "./timers.ts";
import { endTokens, tokenTexts } from "./vocabulary.ts";

/** How long a switch of schedulers waits for running requests when it is not told. */
const switchTimeoutSeconds = 60;

const noStep = { prefillTokens: 0, prefillRows: 0, decodeRows: 0, seconds: 0 };

export class LocalEngine implements EngineClient {
  readonly card: ModelCard;
  private readonly parts: LocalEngineParts;
  private readonly clock: Clock;
  private readonly requests: RequestBook;
  private readonly driver: Driver;
  private readonly listeners = new Set<(step: StepTiming) => void>();
  private readonly logs: EngineLogs;
  private mode: "open" | "switching" | "closed" = "open";
  private idleWaiters: (() => void)[] = [];
  private last: EngineStats["lastStep"] = noStep;

  /** @throws MillraceError CONFIG_INVALID, OUTPUT_UNWRITABLE (logs). */
  constructor(parts: LocalEngineParts) {
    this.parts = parts;
    this.clock = parts.clock ?? new WallClock();
    const { executor, vocabulary, kv } = parts;
    // The last token needs no KV.
    const contextTokens = Math.min(
      executor.card.contextTokens,
      parts.contextTokens ?? Number.POSITIVE_INFINITY,
      kv.capacityTokens + 1,
    );
    this.card = { ...executor.card, name: parts.name ?? executor.card.name, contextTokens };
    this.requests = new RequestBook({
      table: parts.table,
      clock: this.clock,
      scope: {
        sampler: new Sampler(executor.card.vocabularySize),
        texts: tokenTexts(vocabulary),
        endTokens: endTokens(vocabulary),
      },
      ...(parts.prefixKeyer !== undefined && { prefixKeyer: parts.prefixKeyer }),
      contextTokens,
      maxWaiting: parts.maxWaiting,
      driver: () => this.driver,
    });
    this.logs = new EngineLogs(parts.logs ?? {});
    const kvSettings = kvSettingsOf(kv);
    if (kvSettings !== null)
      this.logs.head({
        kind: "engine",
        schema: DECISIONS_SCHEMA,
        model: this.card.name,
        tableCapacity: parts.table.capacity,
        maxRequestTokens: contextTokens - 1,
        maxWaiting: parts.maxWaiting,
        kv: kvSettings,
        zeroNs: String(process.hrtime.bigint() - BigInt(Math.round(this.clock.now() * 1e9))),
      });
    this.logs.scheduler(parts.scheduler);
    this.driver = new Driver({
      executor,
      table: parts.table,
      kv,
      cost: parts.cost,
      clock: this.clock,
      requests: this.requests.generations,
      scheduler: parts.scheduler,
      contextTokens,
      maxWaiting: parts.maxWaiting,
      stepTimeoutSeconds: parts.stepTimeoutSeconds,
      log: this.logs.inputs,
      check: parts.check ?? false,
      planned: (plan) => this.planned(plan),
      stepped: (timing) => this.stepped(timing),
      idle: () => this.becameIdle(),
      fatal: (message) => this.died(message),
    });
  }

  get ready(): boolean {
    return this.mode === "open" && this.driver.dead === null;
  }

  /** @throws MillraceError CONFIG_INVALID for a request that no engine could serve. */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    checkRequest(request, this.card.vocabularySize);
    const { driver } = this;
    if (driver.dead !== null) return answered(crashed(driver.dead));
    if (this.mode !== "open")
      return answered(
        refusal(
          "unavailable",
          this.mode === "switching"
            ? "The engine changes its scheduler and takes no requests."
            : "The engine is going down and takes no requests.",
        ),
      );
    let grammar: GrammarState | null = null;
    if (request.grammar !== null) {
      const { grammar: make } = this.parts;
      if (make === undefined)
        return answered(refusal("grammar", "This engine has no grammar support."));
      try {
        grammar = make(request.grammar);
      } catch (error) {
        return answered(refusal("grammar", messageOf(error)));
      }
    }
    return this.requests.offer(request, signal, grammar);
  }

  async tokenize(
    text: string,
    options: { readonly addSpecial: boolean; readonly parseSpecial: boolean },
  ): Promise<Int32Array> {
    return this.parts.vocabulary.tokenize(text, options);
  }

  async detokenize(tokens: Int32Array): Promise<string> {
    this.checkTokens(tokens);
    return this.parts.vocabulary.detokenize(tokens);
  }

  async pieces(tokens: Int32Array): Promise<readonly Uint8Array[]> {
    this.checkTokens(tokens);
    return Array.from(tokens, (token) => this.parts.vocabulary.pieceBytes(token));
  }

  async embed(
    inputs: readonly Int32Array[],
    signal: AbortSignal,
  ): Promise<readonly Float32Array[]> {
    const { embed } = this.parts;
    if (embed === undefined)
      throw new MillraceError("EMBEDDINGS_UNSUPPORTED", `${this.card.name} gives no embeddings`, {
        hint: "serve an encoder model for embeddings",
      });
    return embed(inputs, signal);
  }

  async stats(): Promise<EngineStats> {
    const { kv, executor } = this.parts;
    const { driver } = this;
    const { counts } = this.requests;
    const mapper = kv instanceof VattentionKv ? kv : null;
    return {
      steps: driver.steps,
      waiting: driver.waiting,
      running: driver.running,
      preemptions: counts.preemptions,
      promptTokens: counts.prompt,
      cachedTokens: counts.cached,
      generatedTokens: counts.generated,
      kvGroups: kv.pages,
      kvGroupsMapped: executor.memory?.mappedGroups ?? kv.usedPages,
      kvGroupsUsed: kv.usedPages,
      kvGroupBytes: executor.memory?.groupBytes ?? 0,
      kvMappedOnDemand: mapper?.mappedOnDemand ?? 0,
      kvMappedInDecode: mapper?.mappedInDecode ?? 0,
      kvMappedAhead: mapper?.mappedAhead ?? 0,
      residentBytes: process.memoryUsage.rss(),
      lastStep: this.last,
      restarts: 0,
      scheduler: driver.scheduler.type,
    };
  }

  /**
   * `parameters` are knobs of SchedulerOptions, and `timeoutSeconds` (default 60) after which running requests are
   * cancelled. Rejects with CONFIG_INVALID before anything stops, ENGINE_FAILED when the engine goes down.
   */
  async switchScheduler(
    type: string,
    parameters: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { timeoutSeconds = switchTimeoutSeconds, ...knobs } = parameters;
    if (typeof timeoutSeconds !== "number" || !(timeoutSeconds >= 0))
      throw new MillraceError(
        "CONFIG_INVALID",
        `timeoutSeconds is ${JSON.stringify(timeoutSeconds)}`,
        { hint: "give seconds, at least 0" },
      );
    const settings = changedSettings(this.driver.scheduler, type, knobs);
    if (!this.ready)
      throw new MillraceError("ENGINE_FAILED", "the engine takes no requests now", {
        hint: "wait until /health says that it is ready",
      });
    this.mode = "switching";
    try {
      await this.emptyWithin(timeoutSeconds);
      if (this.driver.dead !== null)
        throw new MillraceError("ENGINE_FAILED", `the engine ended: ${this.driver.dead}`);
      this.logs.scheduler(settings);
      this.driver.switchScheduler(settings);
    } finally {
      // A drain that came meanwhile stays in force.
      if (this.mode === "switching") this.mode = "open";
    }
  }

  async drain(timeoutSeconds: number): Promise<void> {
    this.mode = "closed";
    await this.emptyWithin(timeoutSeconds);
  }

  onStep(listener: (step: StepTiming) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  async close(): Promise<void> {
    await this.drain(0);
    this.driver.stop();
    await this.logs.close();
    // Memory that a hung step still uses must stay; the process ends soon.
    if (this.driver.computing) return;
    if (this.parts.dispose === undefined) this.parts.executor[Symbol.dispose]();
    else this.parts.dispose();
  }

  private checkTokens(tokens: Int32Array): void {
    const { size } = this.parts.vocabulary;
    for (const token of tokens)
      if (token < 0 || token >= size)
        throw new MillraceError("CONFIG_INVALID", `token ${token} is not in the vocabulary`, {
          hint: `tokens are 0 … ${size - 1}`,
        });
  }

  private planned(plan: StepPlan): void {
    this.logs.plan(plan);
    this.requests.planned(plan);
  }

  private stepped(timing: StepTiming): void {
    this.requests.stepped();
    this.logs.flush();
    if (this.driver.dead !== null) return;
    this.last = {
      prefillTokens: timing.prefillTokens,
      prefillRows: timing.prefillRows,
      decodeRows: timing.decodeRows,
      seconds:
        timing.planSeconds +
        timing.memorySeconds +
        timing.buildSeconds +
        timing.computeSeconds +
        timing.sampleSeconds,
    };
    this.logs.timing(timing);
    for (const listener of this.listeners) listener(timing);
  }

  private died(message: string): void {
    this.requests.fail(message);
    this.becameIdle();
    this.parts.hooks?.onFatal?.(message);
  }

  /** Waits until nothing runs; cancels what still does after `timeoutSeconds`. */
  private async emptyWithin(timeoutSeconds: number): Promise<void> {
    if (this.driver.idle || this.driver.dead !== null) return;
    const late = later(timeoutSeconds, () => this.requests.cancelAll());
    await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
    clearTimeout(late);
  }

  private becameIdle(): void {
    const waiters = this.idleWaiters;
    this.idleWaiters = [];
    for (const resolve of waiters) resolve();
  }
}
