/** What an engine in this process is put together from. */
import type { Clock } from "@millrace/core";
import type { KvManager, PrefixKeyer, SeqTable, StepCostModel } from "@millrace/serving";
import type { EngineHooks, Executor } from "../contracts.ts";
import type { GrammarState } from "./generation.ts";
import type { SchedulerSettings } from "./scheduler-settings.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface LocalEngineParts {
  readonly executor: Executor;
  /** Name shown to clients; the model's own by default. */
  readonly name?: string;
  readonly vocabulary: Vocabulary;
  /** Empty; the one that `kv` was made over. */
  readonly table: SeqTable;
  readonly kv: KvManager;
  /** Names prompt prefixes, so that requests that begin alike share pages; left out, nothing is shared. */
  readonly prefixKeyer?: PrefixKeyer;
  readonly scheduler: SchedulerSettings;
  /** For chunking slo. */
  readonly cost: StepCostModel;
  /** Most tokens of prompt and output; never more than the model's context or the KV cache holds. */
  readonly contextTokens?: number;
  /** Waiting requests beyond which new ones are refused, >= 1. */
  readonly maxWaiting: number;
  readonly stepTimeoutSeconds: number;
  readonly hooks?: EngineHooks;
  readonly logs?: { readonly decisions?: string; readonly timings?: string };
  /** Makes the state of a GBNF grammar; throws for one that is not valid. Without it grammars are refused. */
  readonly grammar?: (gbnf: string) => GrammarState;
  /** Pooled embeddings, where the model gives them. */
  readonly embed?: (
    inputs: readonly Int32Array[],
    signal: AbortSignal,
  ) => Promise<readonly Float32Array[]>;
  /** Gives back whatever the engine was made of, the executor included; by default only the executor. */
  readonly dispose?: () => void;
  readonly clock?: Clock;
  /** Checks all invariants after every step; for tests. */
  readonly check?: boolean;
}
