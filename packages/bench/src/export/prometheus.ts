/** A run as Prometheus text: counters while it goes on, gauges when it has ended. */
import type { BenchReport, LatencyMs, LiveCounters } from "../contracts.ts";

type Labels = Readonly<Record<string, string>>;

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(
    ([key, text]) =>
      `${key}="${text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"')}"`,
  );
  const shown = Number.isNaN(value) ? "NaN" : value === Infinity ? "+Inf" : String(value);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${shown}\n`;
}

function family(name: string, type: "counter" | "gauge", help: string, samples: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples}`;
}

/** A run in progress. */
export function liveMetrics(counters: LiveCounters, labels: Labels = {}): string {
  const { ok, failed, refused, abandoned, inFlight, chunks, sent, due } = counters;
  const outcomes = { ok, failed, refused, abandoned };
  return [
    family(
      "millrace_bench_requests_total",
      "counter",
      "Requests that have ended, by outcome.",
      Object.entries(outcomes)
        .map(([outcome, n]) => sample("millrace_bench_requests_total", { ...labels, outcome }, n))
        .join(""),
    ),
    family(
      "millrace_bench_due_total",
      "counter",
      "Requests whose time has come.",
      sample("millrace_bench_due_total", labels, due),
    ),
    family(
      "millrace_bench_sent_total",
      "counter",
      "Requests sent.",
      sample("millrace_bench_sent_total", labels, sent),
    ),
    family(
      "millrace_bench_chunks_total",
      "counter",
      "Chunks with text received.",
      sample("millrace_bench_chunks_total", labels, chunks),
    ),
    family(
      "millrace_bench_in_flight",
      "gauge",
      "Requests in flight.",
      sample("millrace_bench_in_flight", labels, inFlight),
    ),
  ].join("");
}

const latencies = {
  ttft: (r: BenchReport) => r.latencyMs.ttft.scheduled,
  tbt: (r: BenchReport) => r.latencyMs.tbt,
  tpot: (r: BenchReport) => r.latencyMs.tpot,
  e2e: (r: BenchReport) => r.latencyMs.e2e.scheduled,
} as const;

/** A run that has ended. */
export function reportMetrics(report: BenchReport): string {
  const labels = { model: report.endpoint.model, label: report.label };
  const gauge = (name: string, help: string, value: number): string =>
    family(name, "gauge", help, sample(name, labels, value));
  const quantiles = (metric: string, value: LatencyMs): string =>
    (["p50", "p90", "p95", "p99"] as const)
      .map((key) =>
        sample(
          "millrace_bench_latency_seconds",
          { ...labels, metric, quantile: String(Number(key.slice(1)) / 100) },
          value[key] / 1000,
        ),
      )
      .join("");
  return [
    family(
      "millrace_bench_latency_seconds",
      "gauge",
      "Latency quantiles, from the time of the schedule.",
      Object.entries(latencies)
        .map(([metric, of]) => quantiles(metric, of(report)))
        .join(""),
    ),
    gauge("millrace_bench_fluidity_index", "Deadlines met / all deadlines.", report.fluidity.index),
    gauge(
      "millrace_bench_on_time_share",
      "Tokens on time / all tokens.",
      report.fluidity.onTimeShare,
    ),
    gauge(
      "millrace_bench_fluid_token_rate",
      "Tokens per second that 99 % of requests keep.",
      report.fluidity.fluidTokenRate,
    ),
    gauge("millrace_bench_goodput_share", "Requests within every limit.", report.goodput.share),
    gauge(
      "millrace_bench_requests_per_second",
      "Requests answered per second.",
      report.throughput.requestsPerSecond,
    ),
    gauge(
      "millrace_bench_output_tokens_per_second",
      "Tokens received per second.",
      report.throughput.outputTokensPerSecond,
    ),
    gauge(
      "millrace_bench_valid",
      "1 when the client was not the bottleneck.",
      report.verdict === "VALID" ? 1 : 0,
    ),
    family(
      "millrace_bench_errors",
      "gauge",
      "Failed requests by class.",
      report.errors
        .map((error) =>
          sample("millrace_bench_errors", { ...labels, class: error.class }, error.count),
        )
        .join(""),
    ),
  ].join("");
}
