/**
 * An engine in this process: requests over one driver. Owns the requests from generate to their last event and gives
 * everything back with it; tensors, pages and plans are the affair of executor, KV manager and scheduler.
 */
import { type Clock, MillraceError, WallClock } from "@millrace/core";
import {
  DECISIONS_SCHEMA,
  DONE,
  kvSettingsOf,
  type StepPlan,
  VattentionKv,
} from "@millrace/serving";
import type {
  EngineClient,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  ModelCard,
  StepTiming,
} from "../contracts.ts";
import { EventQueue } from "../process/event-queue.ts";
import { Sampler } from "../sampling/index.ts";
import { type Active, answered, crashed, finishOf, messageOf, refusal } from "./active-request.ts";
import { Driver } from "./driver.ts";
import { EngineLogs } from "./engine-logs.ts";
import { Generation, type GenerationScope, type GrammarState } from "./generation.ts";
import type { LocalEngineParts } from "./local-engine-parts.ts";
import { Pace } from "./pace.ts";
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
  private readonly scope: GenerationScope;
  private readonly driver: Driver;
  private readonly active = new Map<number, Active>();
  private readonly generations = new Map<number, Generation>();
  /** Requests of the step that computes. */
  private readonly inStep: Active[] = [];
  private readonly listeners = new Set<(step: StepTiming) => void>();
  private readonly pace = new Pace();
  private readonly logs: EngineLogs;
  private mode: "open" | "switching" | "closed" = "open";
  private idleWaiters: (() => void)[] = [];
  private nextHandle = 0;
  private readonly counts = { preemptions: 0, prompt: 0, cached: 0, generated: 0 };
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
    this.scope = {
      sampler: new Sampler(executor.card.vocabularySize),
      texts: tokenTexts(vocabulary),
      endTokens: endTokens(vocabulary),
    };
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
      });
    this.logs.scheduler(parts.scheduler);
    this.driver = new Driver({
      executor,
      table: parts.table,
      kv,
      cost: parts.cost,
      clock: this.clock,
      requests: this.generations,
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
    return this.offer(request, signal, grammar);
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
    const { driver, counts } = this;
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

  private offer(
    request: GenerateRequest,
    signal: AbortSignal,
    grammar: GrammarState | null,
  ): AsyncIterable<GenerateEvent> {
    const { table } = this.parts;
    const handle = this.nextHandle++;
    const { prompt, maxTokens, priority, deadlineSeconds } = request;
    const total = prompt.length + maxTokens;
    // Before anything is reserved for it: maxTokens may be beyond what an array can hold.
    if (total > this.card.contextTokens) {
      grammar?.[Symbol.dispose]();
      return answered(
        refusal(
          "too-long",
          `The prompt has ${prompt.length} tokens and ${maxTokens} more are wanted, but the engine holds ${this.card.contextTokens} tokens of one sequence.`,
        ),
      );
    }
    const generation = new Generation(this.scope, request, grammar, (token, text, logprob) => {
      this.counts.generated++;
      queue.push({
        type: "tokens",
        tokens: [token],
        text,
        logprobs: logprob === null ? [] : [logprob],
        at: this.driver.computedAt,
        step: this.driver.steps,
      });
    });
    const now = this.clock.now();
    const seq = table.add(handle, prompt.length, maxTokens, maxTokens, priority, now);
    table.prefixKeys[seq] = this.parts.prefixKeyer?.keys(prompt) ?? null;
    const answer = this.driver.offer(seq);
    if (answer !== "accepted") {
      generation[Symbol.dispose]();
      const { maxWaiting } = this.parts;
      return answered(
        answer === "too-long"
          ? refusal("too-long", `The engine cannot hold ${total} tokens of one sequence.`)
          : {
              type: "error",
              kind: "queue-full",
              message: `${this.driver.waiting} requests wait already, of at most ${maxWaiting}.`,
              retryAfterSeconds: this.pace.secondsFor(this.driver.waiting - maxWaiting + 1, now),
            },
      );
    }
    const leave = (): void => this.cut(active, "cancelled");
    const queue = new EventQueue<GenerateEvent>(leave);
    const late = later(deadlineSeconds, () => this.cut(active, "deadline"));
    const active: Active = {
      handle,
      seq,
      request,
      generation,
      queue,
      detach: () => {
        clearTimeout(late);
        signal.removeEventListener("abort", leave);
      },
      cachedTokens: -1,
      over: false,
    };
    this.active.set(handle, active);
    this.generations.set(handle, generation);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    return queue;
  }

  private planned(plan: StepPlan): void {
    this.logs.plan(plan);
    const { request } = this.parts.table;
    this.counts.preemptions += plan.preempted.n;
    this.inStep.length = 0;
    for (let i = 0; i < plan.rows; i++) {
      const active = this.active.get(request[plan.seq[i]!]!);
      if (active === undefined) continue;
      this.inStep.push(active);
      if (active.cachedTokens >= 0) continue;
      // The first row of a request starts behind what the cache had of its prompt.
      active.cachedTokens = plan.start[i]!;
      this.counts.prompt += active.request.prompt.length;
      this.counts.cached += active.cachedTokens;
      active.queue.push({ type: "admitted", cachedTokens: active.cachedTokens });
    }
  }

  private stepped(timing: StepTiming): void {
    for (const active of this.inStep) {
      const { generation } = active;
      const { end } = generation.output;
      if (active.over) this.giveBack(active);
      else if (end !== null) {
        this.end(active, finishOf(active, end.reason, end.matched));
        this.giveBack(active);
      } else if (this.parts.table.state[active.seq] === DONE) {
        this.end(active, refusal("internal", "No token may come next under the request's rules."));
        this.giveBack(active);
      }
    }
    this.inStep.length = 0;
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

  /** Ends a request early. Its reader hears of it at once; row and KV come back when no step names them. */
  private cut(active: Active, reason: "cancelled" | "deadline"): void {
    if (active.over) return;
    const held = active.generation.output.cut();
    if (held !== "")
      active.queue.push({
        type: "tokens",
        tokens: [],
        text: held,
        logprobs: [],
        at: this.clock.now(),
        step: this.driver.steps,
      });
    this.end(active, finishOf(active, reason, null));
    this.withdraw(active);
  }

  private withdraw(active: Active): void {
    this.driver.cancel(active.seq);
    if (this.parts.table.state[active.seq] === DONE) this.giveBack(active);
  }

  private end(active: Active, event: GenerateEvent): void {
    active.over = true;
    active.detach();
    active.queue.push(event);
    active.queue.end();
    this.pace.ended(this.clock.now());
  }

  /** No step names the request any more. */
  private giveBack(active: Active): void {
    if (!this.active.delete(active.handle)) return;
    this.generations.delete(active.handle);
    active.generation[Symbol.dispose]();
  }

  private died(message: string): void {
    for (const active of [...this.active.values()]) {
      if (active.over) continue;
      this.end(active, crashed(message));
      this.withdraw(active);
    }
    this.becameIdle();
    this.parts.hooks?.onFatal?.(message);
  }

  /** Waits until nothing runs; cancels what still does after `timeoutSeconds`. */
  private async emptyWithin(timeoutSeconds: number): Promise<void> {
    if (this.driver.idle || this.driver.dead !== null) return;
    const late = later(timeoutSeconds, () => {
      for (const active of [...this.active.values()]) this.cut(active, "cancelled");
    });
    await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
    clearTimeout(late);
  }

  private becameIdle(): void {
    const waiters = this.idleWaiters;
    this.idleWaiters = [];
    for (const resolve of waiters) resolve();
  }
}
