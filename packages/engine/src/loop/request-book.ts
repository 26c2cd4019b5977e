/**
 * The requests of an engine, from their offer to their last event: rows of the table, timers, and what their readers hear.
 * Plans and steps come from the driver; this decides nothing about them.
 */
import type { Clock } from "@millrace/core";
import { DONE, type PrefixKeyer, type SeqTable, type StepPlan } from "@millrace/serving";
import type { GenerateEvent, GenerateRequest, TokenTimes } from "../contracts.ts";
import { EventQueue } from "../process/event-queue.ts";
import { type Active, answered, crashed, finishOf, refusal } from "./active-request.ts";
import type { Driver } from "./driver.ts";
import { Generation, type GenerationScope, type GrammarState } from "./generation.ts";
import { Pace } from "./pace.ts";
import { later } from "./timers.ts";

export interface RequestBookOptions {
  readonly table: SeqTable;
  readonly clock: Clock;
  readonly scope: GenerationScope;
  readonly prefixKeyer?: PrefixKeyer;
  /** Most tokens of prompt and output. */
  readonly contextTokens: number;
  readonly maxWaiting: number;
  /** The driver that plans these requests; asked for only when there is one. */
  readonly driver: () => Driver;
}

export class RequestBook {
  /** By the handle in the table's `request`. */
  readonly generations = new Map<number, Generation>();
  /** What the engine's clock is behind the machine's monotonic clock, seconds. */
  private readonly behind: number;
  readonly counts = { preemptions: 0, prompt: 0, cached: 0, generated: 0 };
  private readonly options: RequestBookOptions;
  private readonly active = new Map<number, Active>();
  /** Requests of the step that computes. */
  private readonly inStep: Active[] = [];
  private readonly pace = new Pace();
  private nextHandle = 0;

  constructor(options: RequestBookOptions) {
    this.options = options;
    this.behind = Number(process.hrtime.bigint()) / 1e9 - options.clock.now();
  }

  /** Takes a request in, or answers why not. Owns the grammar from here on. */
  offer(
    request: GenerateRequest,
    signal: AbortSignal,
    grammar: GrammarState | null,
  ): AsyncIterable<GenerateEvent> {
    const { table, contextTokens, maxWaiting, clock } = this.options;
    const driver = this.options.driver();
    const handle = this.nextHandle++;
    const { prompt, maxTokens, priority, deadlineSeconds } = request;
    const total = prompt.length + maxTokens;
    // Before anything is reserved for it: maxTokens may be beyond what an array can hold.
    if (total > contextTokens) {
      grammar?.[Symbol.dispose]();
      return answered(
        refusal(
          "too-long",
          `The prompt has ${prompt.length} tokens and ${maxTokens} more are wanted, but the engine holds ${contextTokens} tokens of one sequence.`,
        ),
      );
    }
    const generation = new Generation(
      this.options.scope,
      request,
      grammar,
      (token, text, logprob) => {
        this.counts.generated++;
        queue.push({
          type: "tokens",
          tokens: [token],
          text,
          logprobs: logprob === null ? [] : [logprob],
          at: driver.computedAt,
          step: driver.steps,
          ...(request.timed === true && { times: this.timesOf(active) }),
        });
      },
    );
    const now = clock.now();
    const seq = table.add(handle, prompt.length, maxTokens, maxTokens, priority, now);
    table.prefixKeys[seq] = this.options.prefixKeyer?.keys(prompt) ?? null;
    const answer = driver.offer(seq);
    if (answer !== "accepted") {
      generation[Symbol.dispose]();
      return answered(
        answer === "too-long"
          ? refusal("too-long", `The engine cannot hold ${total} tokens of one sequence.`)
          : {
              type: "error",
              kind: "queue-full",
              message: `${driver.waiting} requests wait already, of at most ${maxWaiting}.`,
              retryAfterSeconds: this.pace.secondsFor(driver.waiting - maxWaiting + 1, now),
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
      busySeconds: 0,
      counted: false,
    };
    this.active.set(handle, active);
    this.generations.set(handle, generation);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    return queue;
  }

  /** A plan is about to run. */
  planned(plan: StepPlan): void {
    const { request } = this.options.table;
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
      active.queue.push({
        type: "admitted",
        cachedTokens: active.cachedTokens,
        ...(active.request.timed === true && {
          planned: this.options.driver().plannedAt + this.behind,
        }),
      });
    }
  }

  /** The step of the last plan ended: finished requests hear of it and are given back. */
  stepped(): void {
    const { computedAt, submittedAt } = this.options.driver();
    for (const active of this.inStep) {
      const { generation } = active;
      if (!active.counted) active.busySeconds += computedAt - submittedAt;
      active.counted = false;
      const { end } = generation.output;
      if (active.over) this.giveBack(active);
      else if (end !== null) {
        this.end(active, finishOf(active, end.reason, end.matched));
        this.giveBack(active);
      } else if (this.options.table.state[active.seq] === DONE) {
        this.end(active, refusal("internal", "No token may come next under the request's rules."));
        this.giveBack(active);
      }
    }
    this.inStep.length = 0;
  }

  /** Times of the token that was just sampled. */
  private timesOf(active: Active): TokenTimes {
    const { plannedAt, submittedAt } = this.options.driver();
    const now = this.options.clock.now();
    active.busySeconds += now - submittedAt;
    active.counted = true;
    const { behind } = this;
    return {
      planned: plannedAt + behind,
      submitted: submittedAt + behind,
      completed: now + behind,
      busy: active.busySeconds,
    };
  }

  /** Cancels whatever runs. */
  cancelAll(): void {
    for (const active of [...this.active.values()]) this.cut(active, "cancelled");
  }

  /** The engine cannot go on: every request ends with an error that may be retried. */
  fail(message: string): void {
    for (const active of [...this.active.values()]) {
      if (active.over) continue;
      this.end(active, crashed(message));
      this.withdraw(active);
    }
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
        at: this.options.clock.now(),
        step: this.options.driver().steps,
      });
    this.end(active, finishOf(active, reason, null));
    this.withdraw(active);
  }

  private withdraw(active: Active): void {
    this.options.driver().cancel(active.seq);
    if (this.options.table.state[active.seq] === DONE) this.giveBack(active);
  }

  private end(active: Active, event: GenerateEvent): void {
    active.over = true;
    active.detach();
    active.queue.push(event);
    active.queue.end();
    this.pace.ended(this.options.clock.now());
  }

  /** No step names the request any more. */
  private giveBack(active: Active): void {
    if (!this.active.delete(active.handle)) return;
    this.generations.delete(active.handle);
    active.generation[Symbol.dispose]();
  }
}
