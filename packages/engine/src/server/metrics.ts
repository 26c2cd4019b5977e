/** Prometheus metrics, all named `millrace_…`, times in seconds. docs/serving.md has the table. */
import { FluidityColumns, microseconds } from "@millrace/serving";
import { Counter, Histogram, Registry } from "prom-client";
import type { EngineClient, GenerateEvent, StepTiming } from "../contracts.ts";
import { EngineGauges } from "./engine-gauges.ts";

const secondsBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5,
  7.5, 10, 20, 30, 60, 120, 300,
];
const tokenBuckets = [0, 1, 8, 16, 32, 64, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384];
const rowBuckets = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256];
const shareBuckets = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1];

/** How a choice ended; the label of choices_total. */
export type ChoiceOutcome =
  | Extract<GenerateEvent, { type: "finish" }>["reason"]
  | Extract<GenerateEvent, { type: "error" }>["kind"]
  | "failed";

/** Times of one choice, fed as its tokens come; the fluidity-index is kept as it goes (Metron, section 4). */
export interface ChoiceClock {
  admitted(): void;
  /** `tokens` came out together now. */
  tokens(tokens: number): void;
  /** The choice has ended. Only what ended with "stop" or "length" counts in the distributions. */
  ended(outcome: ChoiceOutcome, promptTokens: number): void;
  /** Seconds from arrival to the first token; null before it. */
  readonly ttftSeconds: number | null;
}

/** All metrics of one server. */
export class ServerMetrics {
  readonly registry = new Registry();
  readonly #slo: { ttftUs: number; tbtUs: number };
  readonly #engine: EngineGauges;
  readonly #leaveSteps: () => void;

  readonly #ttft: Histogram;
  readonly #tbt: Histogram;
  readonly #e2e: Histogram;
  readonly #queueTime: Histogram;
  readonly #promptTokens: Histogram;
  readonly #outputTokens: Histogram;
  readonly #fluidity: Histogram;
  readonly #onTime: Histogram;
  readonly #choices: Counter<"outcome">;
  readonly #responses: Counter<"path" | "status">;
  readonly #slowReaders: Counter;
  readonly #stepSeconds: Histogram;
  readonly #stepParts: Counter<"part">;
  readonly #chunkTokens: Histogram;
  readonly #batchTokens: Histogram;
  readonly #prefillRows: Histogram;
  readonly #decodeRows: Histogram;

  constructor(
    client: EngineClient,
    slo: { readonly ttftMs: number; readonly tbtMs: number },
    inFlight: () => number,
  ) {
    this.#slo = { ttftUs: microseconds(slo.ttftMs / 1e3), tbtUs: microseconds(slo.tbtMs / 1e3) };
    const histogram = (name: string, help: string, buckets: readonly number[]) =>
      new Histogram({
        name: `millrace_${name}`,
        help,
        buckets: [...buckets],
        registers: [this.registry],
      });
    const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
      new Counter<L>({ name: `millrace_${name}`, help, labelNames, registers: [this.registry] });

    this.#ttft = histogram(
      "time_to_first_token_seconds",
      "From arrival of a request to its first token",
      secondsBuckets,
    );
    this.#tbt = histogram(
      "time_between_tokens_seconds",
      "Gap between tokens of one choice; tokens of one step have gap 0",
      secondsBuckets,
    );
    this.#e2e = histogram(
      "request_seconds",
      "From arrival of a request to the last token of a choice",
      secondsBuckets,
    );
    this.#queueTime = histogram(
      "queue_seconds",
      "From arrival of a request to its admission to KV memory",
      secondsBuckets,
    );
    this.#promptTokens = histogram(
      "request_prompt_tokens",
      "Prompt tokens of a choice, counted at its end",
      tokenBuckets,
    );
    this.#outputTokens = histogram(
      "request_output_tokens",
      "Tokens that a choice got",
      tokenBuckets,
    );
    this.#fluidity = histogram(
      "fluidity_index",
      `Deadlines met of all deadlines, per finished choice (TTFT ${slo.ttftMs} ms, TBT ${slo.tbtMs} ms)`,
      shareBuckets,
    );
    this.#onTime = histogram(
      "on_time_token_share",
      "Tokens on time of all tokens, per finished choice, same targets",
      shareBuckets,
    );
    this.#choices = counter("choices_total", "Choices by how they ended", ["outcome"]);
    this.#responses = counter("http_responses_total", "HTTP responses by path and status", [
      "path",
      "status",
    ]);
    this.#slowReaders = counter(
      "slow_readers_total",
      "Streams cancelled because their reader was too slow",
      [],
    );
    this.#stepSeconds = histogram("step_seconds", "Time of one engine step", secondsBuckets);
    this.#stepParts = counter("step_part_seconds_total", "Where the time of steps went", ["part"]);
    this.#chunkTokens = histogram(
      "chunk_tokens",
      "Prefill tokens per prefill row of a step (mean of the step)",
      tokenBuckets,
    );
    this.#batchTokens = histogram(
      "batch_tokens",
      "Tokens of one step, prefill and decode",
      tokenBuckets,
    );
    this.#prefillRows = histogram("batch_prefill_rows", "Prefill rows of one step", rowBuckets);
    this.#decodeRows = histogram("batch_decode_rows", "Decode rows of one step", rowBuckets);
    this.#engine = new EngineGauges(this.registry, client, inFlight);
    this.#leaveSteps = client.onStep((step) => this.#step(step));
  }

  /** Counts an HTTP response; `path` is a route, never a client's own text. */
  response(path: string, status: number): void {
    this.#responses.inc({ path, status: String(status) });
  }

  /** Counts a stream that was cancelled for its slow reader. */
  slowReader(): void {
    this.#slowReaders.inc();
  }

  /** The clock of one choice whose request arrived at `arrivedMs` of performance.now(). */
  clock(arrivedMs: number): ChoiceClock {
    const fluidity = new FluidityColumns(1, this.#slo.tbtUs);
    fluidity.begin(0, microseconds(arrivedMs / 1e3), this.#slo.ttftUs);
    const since = (ms: number) => (performance.now() - ms) / 1e3;
    let lastMs = 0;
    let count = 0;
    let ttftSeconds: number | null = null;
    return {
      get ttftSeconds() {
        return ttftSeconds;
      },
      admitted: () => this.#queueTime.observe(since(arrivedMs)),
      tokens: (tokens) => {
        // Text that was held back comes without a token.
        if (tokens === 0) return;
        const nowMs = performance.now();
        if (count === 0) {
          ttftSeconds = (nowMs - arrivedMs) / 1e3;
          this.#ttft.observe(ttftSeconds);
        } else this.#tbt.observe((nowMs - lastMs) / 1e3);
        for (let i = 1; i < tokens; i++) this.#tbt.observe(0);
        fluidity.emit(0, microseconds(nowMs / 1e3), tokens);
        lastMs = nowMs;
        count += tokens;
      },
      ended: (outcome, promptTokens) => {
        this.#choices.inc({ outcome });
        if ((outcome !== "stop" && outcome !== "length") || count === 0) return;
        this.#promptTokens.observe(promptTokens);
        this.#outputTokens.observe(count);
        const met = fluidity.met[0] ?? 0;
        const missed = fluidity.missed[0] ?? 0;
        this.#e2e.observe((lastMs - arrivedMs) / 1e3);
        this.#fluidity.observe(met / (met + missed));
        this.#onTime.observe(met / count);
      },
    };
  }

  /** Name, type, labels and help of every metric, as the rows of a Markdown table. */
  async table(): Promise<string> {
    const metrics = await this.registry.getMetricsAsJSON();
    const rows = metrics.map(({ name, type, help }) => {
      const { labelNames } = this.registry.getSingleMetric(name) as unknown as {
        readonly labelNames: readonly string[];
      };
      const labels = labelNames.map((label) => `\`${label}\``).join(", ");
      return `| \`${name}\` | ${type} | ${labels} | ${help} |`;
    });
    return ["| metric | type | labels | meaning |", "|---|---|---|---|", ...rows].join("\n");
  }

  /** Content type of /metrics. */
  get contentType(): string {
    return this.registry.contentType;
  }

  /** The text of /metrics. */
  async text(): Promise<string> {
    await this.#engine.refresh();
    return this.registry.metrics();
  }

  close(): void {
    this.#leaveSteps();
    this.#engine.close();
  }

  #step(step: StepTiming): void {
    const parts = {
      plan: step.planSeconds,
      memory: step.memorySeconds,
      build: step.buildSeconds,
      compute: step.computeSeconds,
      sample: step.sampleSeconds,
    };
    let seconds = 0;
    for (const [part, value] of Object.entries(parts)) {
      seconds += value;
      this.#stepParts.inc({ part }, value);
    }
    this.#stepSeconds.observe(seconds);
    this.#batchTokens.observe(step.prefillTokens + step.decodeRows);
    this.#prefillRows.observe(step.prefillRows);
    this.#decodeRows.observe(step.decodeRows);
    if (step.prefillRows > 0) this.#chunkTokens.observe(step.prefillTokens / step.prefillRows);
  }
}
