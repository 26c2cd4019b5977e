/** The child's side: an EngineClient behind a port. */
import { MillraceError } from "@millrace/core";
import type { EngineClient, GenerateEvent, GenerateRequest, StepTiming } from "../contracts.ts";
import { plainError } from "./plain-error.ts";
import type { Call, FromEngine, Port, ToEngine } from "./protocol.ts";

/** Carries out what the parent asks of one engine. Never throws: failures are messages. */
export class EngineHost {
  private readonly client: EngineClient;
  private readonly port: Port<FromEngine>;
  private readonly running = new Map<number, AbortController>();
  private events: [number, GenerateEvent][] = [];
  private steps: StepTiming[] = [];
  private flushing = false;
  private wasReady: boolean;
  private unsubscribe: (() => void) | null = null;

  constructor(client: EngineClient, port: Port<FromEngine>) {
    this.client = client;
    this.port = port;
    this.wasReady = client.ready;
  }

  receive(message: Exclude<ToEngine, { kind: "load" | "close" }>): void {
    switch (message.kind) {
      case "generate":
        void this.generate(message.key, message.request);
        break;
      case "cancel":
        this.running.get(message.key)?.abort();
        break;
      case "call":
        void this.answer(message.key, message.call);
        break;
      case "steps":
        this.watchSteps(message.wanted);
        break;
      case "ping":
        this.port.post({ kind: "pong", sentAt: message.sentAt });
        break;
    }
  }

  /** Cancels everything and closes the engine. */
  async close(): Promise<void> {
    this.watchSteps(false);
    for (const controller of this.running.values()) controller.abort();
    await this.client.close();
  }

  private async generate(key: number, request: GenerateRequest): Promise<void> {
    const controller = new AbortController();
    this.running.set(key, controller);
    try {
      for await (const event of this.client.generate(request, controller.signal))
        this.enqueue(key, event);
    } catch (error) {
      this.enqueue(key, thrownEvent(error));
    } finally {
      this.running.delete(key);
    }
  }

  private async answer(key: number, call: Call): Promise<void> {
    const controller = new AbortController();
    this.running.set(key, controller);
    try {
      const value = await this.perform(call, controller.signal);
      this.port.post({ kind: "answer", key, value });
    } catch (error) {
      this.port.post({ kind: "failure", key, error: plainError(error) });
    } finally {
      this.running.delete(key);
    }
    this.tellReadiness();
  }

  private perform(call: Call, signal: AbortSignal): Promise<unknown> {
    switch (call.name) {
      case "tokenize":
        return this.client.tokenize(call.text, call);
      case "detokenize":
        return this.client.detokenize(call.tokens);
      case "pieces":
        return this.client.pieces(call.tokens);
      case "embed":
        return this.client.embed(call.inputs, signal);
      case "stats":
        return this.client.stats();
      case "switchScheduler": {
        const switched = this.client.switchScheduler(call.type, call.parameters);
        this.tellReadiness();
        return switched;
      }
      case "drain": {
        const drained = this.client.drain(call.timeoutSeconds);
        this.tellReadiness();
        return drained;
      }
      default:
        throw new MillraceError("ENGINE_FAILED", `unknown call ${JSON.stringify(call)}`);
    }
  }

  private watchSteps(wanted: boolean): void {
    this.unsubscribe?.();
    this.unsubscribe = wanted
      ? this.client.onStep((step) => {
          this.steps.push(step);
          this.flushSoon();
        })
      : null;
  }

  private tellReadiness(): void {
    if (this.client.ready !== this.wasReady) this.flushSoon();
  }

  private enqueue(key: number, event: GenerateEvent): void {
    this.events.push([key, event]);
    this.flushSoon();
  }

  /** After all microtasks of this turn: the rows of a step hand their events over one by one. */
  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    setImmediate(() => {
      this.flushing = false;
      const { events, steps } = this;
      this.events = [];
      this.steps = [];
      this.wasReady = this.client.ready;
      this.port.post({ kind: "events", events, steps, ready: this.wasReady });
    });
  }
}

/** What a request hears that the engine threw out: its own fault where the error says so, otherwise a bug. */
function thrownEvent(error: unknown): GenerateEvent {
  if (error instanceof MillraceError && error.code === "CONFIG_INVALID") {
    const hint = error.hint === undefined ? "" : `; ${error.hint}`;
    return { type: "error", kind: "invalid", message: `${error.message}${hint}` };
  }
  return { type: "error", kind: "internal", message: plainError(error).message };
}
