/** Vidur's replica schedulers as lists (design/simulator.md 1.3), each written straight from its description. */
import type { OracleOptions, OracleRequest } from "./vidur.ts";

/** A batch: requests with the tokens that each computes. */
export type Picked = [request: OracleRequest, tokens: number][];

export interface Scheduler {
  waiting: OracleRequest[];
  next(): Picked;
  batchEnded(requests: readonly OracleRequest[]): void;
}

export function schedulerOf(options: OracleOptions): Scheduler {
  switch (options.scheduler) {
    case "vllm":
      return new Vllm(options);
    case "sarathi":
      return new Sarathi(options);
    case "orca":
      return new Orca(options);
    case "lightllm":
      return new Lightllm(options);
  }
}

/** Blocks by request, and the running requests that no batch holds. */
abstract class Base implements Scheduler {
  waiting: OracleRequest[] = [];
  protected running: OracleRequest[] = [];
  protected readonly held = new Map<OracleRequest, number>();
  protected readonly o: OracleOptions;
  protected readonly rowCap: number;

  constructor(options: OracleOptions) {
    this.o = options;
    this.rowCap = Math.floor(options.batchCap / options.stages);
  }

  abstract next(): Picked;

  batchEnded(requests: readonly OracleRequest[]): void {
    for (const request of requests) {
      if (request.completed) this.held.delete(request);
      else this.running.push(request);
    }
  }

  protected get free(): number {
    let used = 0;
    for (const blocks of this.held.values()) used += blocks;
    if (used > this.o.blocks) throw new Error("more blocks are held than exist");
    return this.o.blocks - used;
  }

  protected hold(request: OracleRequest, blocks: number): void {
    this.held.set(request, (this.held.get(request) ?? 0) + blocks);
  }

  /** The whole prompt must leave the watermark free. */
  protected admissible(request: OracleRequest): boolean {
    const watermark = Math.floor(this.o.watermark * this.o.blocks);
    return this.free - Math.ceil(request.prefill / this.o.blockTokens) >= watermark;
  }

  protected admit(request: OracleRequest): void {
    this.waiting.shift();
    this.hold(request, Math.ceil(request.prefill / this.o.blockTokens));
  }

  /** One token more: a running request needs a free block to be scheduled, whether or not it will take it. */
  protected extend(request: OracleRequest): boolean {
    while (this.free < 1) {
      const victim = this.running.pop() ?? request;
      victim.restart();
      this.held.delete(victim);
      this.waiting.unshift(victim);
      if (victim === request) return false;
    }
    if (request.processed > (this.held.get(request) ?? 0) * this.o.blockTokens)
      this.hold(request, 1);
    return true;
  }

  protected sortRunning(): void {
    this.running.sort((a, b) => a.arrivedAt - b.arrivedAt);
  }
}

class Vllm extends Base {
  next(): Picked {
    const picked: Picked = [];
    while (this.waiting.length > 0) {
      const head = this.waiting[0];
      const longest = Math.max(head.prefill, ...picked.map(([, tokens]) => tokens));
      if (!this.admissible(head)) break;
      if ((picked.length + 1) * longest > this.o.maxTokensInBatch) break;
      if (this.held.size === this.o.batchCap || picked.length === this.rowCap) break;
      this.admit(head);
      picked.push([head, head.prefill]);
    }
    if (picked.length > 0) return picked;
    this.sortRunning();
    while (this.running.length > 0 && picked.length < this.rowCap) {
      const request = this.running.shift() as OracleRequest;
      if (this.extend(request)) picked.push([request, 1]);
    }
    return picked;
  }
}

class Sarathi extends Base {
  next(): Picked {
    const picked: Picked = [];
    const partial: OracleRequest[] = [];
    const budget = (): number =>
      Math.max(0, this.o.chunk - picked.reduce((sum, [, tokens]) => sum + tokens, 0));
    while (this.running.length > 0 && picked.length < this.rowCap) {
      const request = this.running.shift() as OracleRequest;
      if (!request.prefillComplete) partial.push(request);
      else if (this.extend(request)) picked.push([request, 1]);
    }
    const skipped: OracleRequest[] = [];
    for (const request of partial) {
      const tokens = Math.min(request.prefill - request.processed, budget());
      if (tokens === 0) skipped.push(request);
      else picked.push([request, tokens]);
    }
    this.running = [...skipped, ...this.running];
    this.sortRunning();
    while (this.waiting.length > 0) {
      const head = this.waiting[0];
      if (this.held.size === this.o.batchCap || picked.length === this.rowCap) break;
      if (!this.admissible(head)) break;
      const tokens = Math.min(head.prefill, budget());
      if (tokens === 0) break;
      this.admit(head);
      picked.push([head, tokens]);
    }
    return picked;
  }
}

class Orca extends Base {
  next(): Picked {
    const picked: Picked = [];
    const slot = Math.floor(this.o.slotTokens / this.o.blockTokens);
    while (this.running.length > 0 && picked.length < this.o.batchCap) {
      const request = this.running.shift() as OracleRequest;
      picked.push([request, request.prefillComplete ? 1 : request.prefill]);
    }
    while (this.waiting.length > 0 && picked.length < this.o.batchCap && this.free >= slot) {
      const request = this.waiting.shift() as OracleRequest;
      this.hold(request, slot);
      picked.push([request, request.prefill]);
    }
    return picked;
  }
}

/** Token-level KV; raises where Vidur does when decodes do not fit. */
class Lightllm extends Base {
  private iterations = 0;

  next(): Picked {
    if (this.running.length === 0) {
      const prompts = this.prompts();
      if (prompts.length > 0) this.iterations = 0;
      return prompts;
    }
    if (this.iterations >= this.o.maxWaitingIters) {
      this.iterations = 0;
      const prompts = this.prompts();
      if (prompts.length > 0) return prompts;
    }
    if (this.free < this.running.length) throw new Error("out of memory");
    this.iterations++;
    const decodes: Picked = this.running.splice(0).map((request) => [request, 1]);
    for (const [request] of decodes) this.hold(request, 1);
    return decodes;
  }

  private prompts(): Picked {
    const picked: Picked = [];
    const forecast = this.running.map((q) => ({
      held: q.processed,
      remaining: Math.max(0, q.decode - (q.processed - q.prefill) - 1),
    }));
    let tokens = 0;
    while (this.waiting.length > 0) {
      const head = this.waiting[0];
      if (tokens + head.prefill > this.o.maxTokensInBatch) break;
      if (this.held.size === this.o.batchCap || picked.length === this.rowCap) break;
      forecast.push({ held: head.prefill + 1, remaining: Math.max(0, head.decode - 2) });
      forecast.sort((a, b) => b.remaining - a.remaining);
      const needs = forecast.map((f, i) => {
        const held = forecast.slice(0, i + 1).reduce((sum, g) => sum + g.held, 0);
        return f.remaining * (i + 1) + held;
      });
      if (Math.max(...needs) >= this.o.blocks) break;
      this.waiting.shift();
      this.hold(head, head.prefill);
      tokens += head.prefill;
      picked.push([head, head.prefill]);
    }
    return picked;
  }
}
