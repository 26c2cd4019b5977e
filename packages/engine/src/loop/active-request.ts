/** A request in the engine, and the events that end one. */
import type { Seq } from "@millrace/serving";
import type { GenerateEvent, GenerateRequest } from "../contracts.ts";
import { EventQueue } from "../process/event-queue.ts";
import type { Generation } from "./generation.ts";

/** One request that has not been given back yet. */
export interface Active {
  readonly handle: number;
  readonly seq: Seq;
  readonly request: GenerateRequest;
  readonly generation: Generation;
  readonly queue: EventQueue<GenerateEvent>;
  /** Takes timer and listener away. */
  readonly detach: () => void;
  /** -1 until admitted. */
  cachedTokens: number;
  /** Its last event is out. */
  over: boolean;
  /** Seconds that steps with a row of it have computed, and whether the step that computes now is in there already. */
  busySeconds: number;
  counted: boolean;
}

/** The good end of a request. */
export function finishOf(
  active: Active,
  reason: "stop" | "length" | "deadline" | "cancelled",
  matched: string | number | null,
): GenerateEvent {
  return {
    type: "finish",
    reason,
    matched,
    promptTokens: active.request.prompt.length,
    completionTokens: active.generation.output.tokens,
    cachedTokens: Math.max(0, active.cachedTokens),
  };
}

/** A request that cannot be served as it is, or not now. */
export function refusal(
  kind: "too-long" | "grammar" | "unavailable" | "internal",
  message: string,
): GenerateEvent {
  return { type: "error", kind, message };
}

/** A failure that is not the request's: it may be sent again. */
export function crashed(message: string): GenerateEvent {
  return { type: "error", kind: "crashed", message, retryAfterSeconds: 1 };
}

/** A request that ended before it began. */
export function answered(event: GenerateEvent): AsyncIterable<GenerateEvent> {
  const queue = new EventQueue<GenerateEvent>(() => {});
  queue.push(event);
  queue.end();
  return queue;
}

/** What an unknown thrown value says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
