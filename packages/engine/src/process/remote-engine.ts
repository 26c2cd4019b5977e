/** The parent's side of one living engine process: calls, requests and subscriptions by key. */
import { MillraceError } from "@millrace/core";
import type { GenerateEvent, GenerateRequest, StepTiming } from "../contracts.ts";
import { EventQueue } from "./event-queue.ts";
import { revivedError } from "./plain-error.ts";
import type { Answers, Call, FromEngine, Port, ToEngine } from "./protocol.ts";

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What the remote side tells, as far as it is neither an answer nor an event. */
export interface RemoteListener {
  step(step: StepTiming): void;
}

/** Never outlives its process: `lost` fails everything that is open. */
export class RemoteEngine {
  /** Takes requests. */
  ready = true;
  private readonly port: Port<ToEngine>;
  private readonly listener: RemoteListener;
  private readonly requests = new Map<number, EventQueue<GenerateEvent>>();
  private readonly calls = new Map<number, Pending>();
  private nextKey = 1;
  private end: { readonly reason: string; readonly retryAfterSeconds: number } | null = null;

  constructor(port: Port<ToEngine>, listener: RemoteListener) {
    this.port = port;
    this.listener = listener;
  }

  /** Requests that have neither finished nor failed. */
  get open(): number {
    return this.requests.size;
  }

  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    const key = this.nextKey++;
    const cancel = (): void => {
      if (this.requests.has(key)) this.port.post({ kind: "cancel", key });
    };
    const queue = new EventQueue<GenerateEvent>(() => {
      cancel();
      signal.removeEventListener("abort", cancel);
    });
    if (this.end !== null) {
      queue.push(crashed(this.end.reason, this.end.retryAfterSeconds));
      queue.end();
      return queue;
    }
    this.requests.set(key, queue);
    this.port.post({ kind: "generate", key, request });
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    return queue;
  }

  /** Asks for one answer. Aborting the signal rejects at once with its reason, and cancels on the other side. */
  call<C extends Call>(call: C, signal?: AbortSignal): Promise<Answers[C["name"]]> {
    const { end } = this;
    if (end !== null) return Promise.reject(new MillraceError("ENGINE_FAILED", end.reason));
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    const key = this.nextKey++;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.settle(key);
        this.port.post({ kind: "cancel", key });
        reject(signal?.reason);
      };
      const detach = (): void => signal?.removeEventListener("abort", abort);
      this.calls.set(key, {
        resolve: (value) => {
          detach();
          resolve(value as Answers[C["name"]]);
        },
        reject: (error) => {
          detach();
          reject(error);
        },
      });
      signal?.addEventListener("abort", abort, { once: true });
      this.port.post({ kind: "call", key, call });
    });
  }

  receive(message: FromEngine): void {
    if (message.kind === "events") {
      this.ready = message.ready;
      for (const [key, event] of message.events) this.deliver(key, event);
      for (const step of message.steps) this.listener.step(step);
    } else if (message.kind === "answer") this.settle(message.key)?.resolve(message.value);
    else if (message.kind === "failure")
      this.settle(message.key)?.reject(revivedError(message.error));
  }

  /** The process is gone: open requests end with a retryable error, open calls reject. */
  lost(reason: string, retryAfterSeconds: number): void {
    this.end = { reason, retryAfterSeconds };
    this.ready = false;
    for (const queue of this.requests.values()) {
      queue.push(crashed(reason, retryAfterSeconds));
      queue.end();
    }
    this.requests.clear();
    for (const { reject } of this.calls.values())
      reject(new MillraceError("ENGINE_FAILED", reason));
    this.calls.clear();
  }

  private deliver(key: number, event: GenerateEvent): void {
    const queue = this.requests.get(key);
    if (queue === undefined) return;
    queue.push(event);
    if (event.type !== "finish" && event.type !== "error") return;
    this.requests.delete(key);
    queue.end();
  }

  private settle(key: number): Pending | undefined {
    const pending = this.calls.get(key);
    this.calls.delete(key);
    return pending;
  }
}

function crashed(reason: string, retryAfterSeconds: number): GenerateEvent {
  return { type: "error", kind: "crashed", message: reason, retryAfterSeconds };
}
