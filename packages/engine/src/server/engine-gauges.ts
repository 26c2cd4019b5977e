/** The part of /metrics that the engine keeps itself: one `stats()` per scrape, and the server's own event loop. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { Counter, Gauge, type Registry } from "prom-client";
import type { EngineClient, EngineStats } from "../contracts.ts";

/** A scrape must not hang because the engine does. */
const statsTimeoutMs = 1000;
const lagResolutionMs = 10;

interface Total {
  readonly name: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: (stats: EngineStats) => number;
}

/** Totals that only grow while the engine lives; a restart starts them at 0, which Prometheus understands. */
const totals: readonly Total[] = [
  { name: "steps_total", help: "Engine steps", labels: {}, value: (s) => s.steps },
  {
    name: "preemptions_total",
    help: "Sequences evicted for want of KV memory and computed again",
    labels: {},
    value: (s) => s.preemptions,
  },
  {
    name: "prompt_tokens_total",
    help: "Prompt tokens of admitted requests",
    labels: {},
    value: (s) => s.promptTokens,
  },
  {
    name: "cached_tokens_total",
    help: "Prompt tokens taken from the prefix cache",
    labels: {},
    value: (s) => s.cachedTokens,
  },
  {
    name: "generated_tokens_total",
    help: "Tokens generated",
    labels: {},
    value: (s) => s.generatedTokens,
  },
  {
    name: "kv_groups_mapped_total",
    help: "KV page groups mapped ahead of need or on demand",
    labels: { how: "ahead" },
    value: (s) => s.kvMappedAhead,
  },
  {
    name: "kv_groups_mapped_total",
    help: "KV page groups mapped ahead of need or on demand",
    labels: { how: "on_demand" },
    value: (s) => s.kvMappedOnDemand,
  },
  {
    name: "engine_restarts_total",
    help: "Restarts of the engine process after a crash",
    labels: {},
    value: (s) => s.restarts,
  },
];

async function statsOrNull(client: EngineClient): Promise<EngineStats | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), statsTimeoutMs);
  });
  try {
    return await Promise.race([client.stats(), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

/** Gauges and totals taken anew by each `refresh`. */
export class EngineGauges {
  readonly #client: EngineClient;
  readonly #inFlight: () => number;
  readonly #lag: IntervalHistogram = monitorEventLoopDelay({ resolution: lagResolutionMs });
  readonly #totals = new Map<string, Counter<string>>();
  readonly #requests: Gauge<"state">;
  readonly #choices: Gauge;
  readonly #groups: Gauge<"state">;
  readonly #groupBytes: Gauge;
  readonly #resident: Gauge;
  readonly #ready: Gauge;
  readonly #info: Gauge<"scheduler" | "model">;
  readonly #lagSeconds: Gauge<"quantile">;

  constructor(registry: Registry, client: EngineClient, inFlight: () => number) {
    this.#client = client;
    this.#inFlight = inFlight;
    const registers = [registry];
    for (const { name, help, labels } of totals) {
      if (this.#totals.has(name)) continue;
      const labelNames = Object.keys(labels);
      this.#totals.set(
        name,
        new Counter({ name: `millrace_${name}`, help, labelNames, registers }),
      );
    }
    const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new Gauge<L>({ name: `millrace_${name}`, help, labelNames, registers });
    this.#requests = gauge("requests", "Sequences in the engine by state", "state");
    this.#choices = gauge("choices_in_flight", "Choices that the server has given to the engine");
    this.#groups = gauge(
      "kv_groups",
      "KV page groups: mapped to memory, used by sequences, free for others, limit of all",
      "state",
    );
    this.#groupBytes = gauge("kv_group_bytes", "Bytes of one KV page group");
    this.#resident = gauge("resident_bytes", "Resident memory of the engine process");
    this.#ready = gauge("engine_ready", "1 while requests are taken");
    this.#info = gauge(
      "engine_info",
      "Always 1; scheduler and model as labels",
      "scheduler",
      "model",
    );
    this.#lagSeconds = gauge(
      "event_loop_lag_seconds",
      "Delay of the server's event loop since the scrape before",
      "quantile",
    );
    this.#lag.enable();
  }

  /** Takes all values anew; those of an engine that does not answer within a second stay as they were. */
  async refresh(): Promise<void> {
    this.#choices.set(this.#inFlight());
    this.#ready.set(this.#client.ready ? 1 : 0);
    this.#measureLag();
    const stats = await statsOrNull(this.#client);
    if (stats === null) return;
    for (const counter of this.#totals.values()) counter.reset();
    for (const { name, labels, value } of totals) this.#totals.get(name)?.inc(labels, value(stats));
    this.#requests.set({ state: "waiting" }, stats.waiting);
    this.#requests.set({ state: "running" }, stats.running);
    this.#groups.set({ state: "mapped" }, stats.kvGroupsMapped);
    this.#groups.set({ state: "used" }, stats.kvGroupsUsed);
    this.#groups.set({ state: "free" }, Math.max(0, stats.kvGroups - stats.kvGroupsUsed));
    this.#groups.set({ state: "limit" }, stats.kvGroups);
    this.#groupBytes.set(stats.kvGroupBytes);
    this.#resident.set(stats.residentBytes);
    this.#info.reset();
    this.#info.set({ scheduler: stats.scheduler, model: this.#client.card.name }, 1);
  }

  close(): void {
    this.#lag.disable();
  }

  #measureLag(): void {
    // The monitor's samples hold its own period; without samples its extremes mean nothing.
    const seconds = (ns: number) =>
      this.#lag.count > 0 ? Math.max(0, ns / 1e9 - lagResolutionMs / 1e3) : 0;
    this.#lagSeconds.set({ quantile: "0.5" }, seconds(this.#lag.percentile(50)));
    this.#lagSeconds.set({ quantile: "0.99" }, seconds(this.#lag.percentile(99)));
    this.#lagSeconds.set({ quantile: "1" }, seconds(this.#lag.max));
    this.#lag.reset();
  }
}
