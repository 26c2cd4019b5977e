/**
 * The engine's process: the model runs in a child, since native code aborts instead of throwing. The parent holds an
 * EngineClient that forwards to the EngineClient of the child. Messages are structured clones over Node's IPC channel;
 * events of one step travel together, so that a step costs one message whatever its rows.
 */
import type { ErrorCode } from "@millrace/core";
import type {
  EngineOptions,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  ModelCard,
  StepTiming,
} from "../contracts.ts";

/** Both sides must speak it: a parent never talks to a child of another version. */
export const PROTOCOL_VERSION = 2;

/** Calls with one answer. */
export type Call =
  | {
      readonly name: "tokenize";
      readonly text: string;
      readonly addSpecial: boolean;
      readonly parseSpecial: boolean;
    }
  | { readonly name: "detokenize" | "pieces"; readonly tokens: Int32Array }
  | { readonly name: "embed"; readonly inputs: readonly Int32Array[] }
  | { readonly name: "stats" }
  | {
      readonly name: "switchScheduler";
      readonly type: string;
      readonly parameters: Readonly<Record<string, unknown>>;
    }
  | { readonly name: "drain"; readonly timeoutSeconds: number };

/** Answers by call. */
export interface Answers {
  readonly tokenize: Int32Array;
  readonly detokenize: string;
  readonly pieces: readonly Uint8Array[];
  readonly embed: readonly Float32Array[];
  readonly stats: EngineStats;
  readonly switchScheduler: undefined;
  readonly drain: undefined;
}

export type ToEngine =
  | {
      readonly kind: "load";
      readonly version: number;
      readonly module: string;
      readonly options: EngineOptions;
    }
  | { readonly kind: "generate"; readonly key: number; readonly request: GenerateRequest }
  /** Of a request or a call; what has ended already is no error. */
  | { readonly kind: "cancel"; readonly key: number }
  | { readonly kind: "call"; readonly key: number; readonly call: Call }
  | { readonly kind: "steps"; readonly wanted: boolean }
  | { readonly kind: "ping"; readonly sentAt: number }
  | { readonly kind: "close" };

/** An error as it crosses the border. */
export interface PlainError {
  /** Null for errors that are not MillraceErrors. */
  readonly code: ErrorCode | null;
  readonly message: string;
  readonly hint: string | null;
}

export type FromEngine =
  | { readonly kind: "progress"; readonly what: string; readonly share: number | null }
  | { readonly kind: "ready"; readonly version: number; readonly card: ModelCard }
  | { readonly kind: "refused"; readonly error: PlainError }
  | { readonly kind: "fatal"; readonly message: string }
  /** Events in the order they came, of any requests, and the steps that ended meanwhile. */
  | {
      readonly kind: "events";
      readonly events: readonly (readonly [key: number, event: GenerateEvent])[];
      readonly steps: readonly StepTiming[];
      readonly ready: boolean;
    }
  | { readonly kind: "answer"; readonly key: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly key: number; readonly error: PlainError }
  | { readonly kind: "pong"; readonly sentAt: number };

/** One direction of the channel as its writer sees it. */
export interface Port<Out> {
  /** Sends; a channel that is gone is no error, its end is told otherwise. */
  post(message: Out): void;
}
