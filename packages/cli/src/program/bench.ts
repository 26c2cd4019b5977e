/** `millrace bench` and what hangs below it. */
import { endpointFlags, loadFlags, targetFlags } from "./bench-flags.ts";
import { benchSearchCommands } from "./bench-search.ts";
import type { CommandSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Serving:";

const score: CommandSpec = {
  usage: "score <file>",
  summary: "score a recorded run again, or streams that anyone recorded",
  text: "Scores the raw file of a run (run.jsonl of --out) with these targets and promises, together with raw files of other client hosts that --merge names. Or scores a file of token gaps in whole microseconds, exactly: {per_request: [{id, inter_token_times_us, target_ttft_us, target_tbt_us}]}, which carries its own targets: deadlines met and missed, the fluidity-index and the share of tokens on time, for each stream and for all together.",
  flags: [
    ...targetFlags,
    {
      flags: "--merge <file>",
      text: "raw file of another client of the same load; may be repeated",
      repeat: true,
    },
  ],
  examples: [
    ["millrace bench score out/run.jsonl --tbt 50ms", "the same run with a harder deadline"],
    [
      "millrace bench score host1.jsonl --merge host2.jsonl --slo 'ttft.p99<=1s'",
      "one load sent from two hosts",
    ],
    ["millrace bench score gaps.json --compat etalon --json", "to compare with figures of etalon"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/bench/score.ts")).scoreCommand(session, args[0] ?? "", flags),
};

const mock: CommandSpec = {
  usage: "mock",
  summary: "an endpoint to try things on, without a model",
  text: "Serves OpenAI's API on loopback until Ctrl-C: continuous batching in steps of real time, prompts that cost time, with chunked prefill or with generation stalls, speculative chunks, failures on demand. A prompt of n words has n tokens. Everything but the clock follows from the seed.",
  flags: [
    { flags: "--port <n>", text: "port (default: a free one)", parse: wholeNumber("--port", 0) },
    {
      flags: "--seed <n>",
      text: "of noise and failures (default: 1)",
      parse: wholeNumber("--seed", 0),
    },
    {
      flags: "--scheduler <name>",
      text: "prefill-first stalls decodes for whole prompts (default: chunked)",
      choices: ["chunked", "prefill-first"],
    },
    {
      flags: "--step-ms <ms>",
      text: "time of a step (default: 10)",
      parse: decimal("--step-ms", 0, 1e4),
    },
    {
      flags: "--prefill-tokens-per-second <n>",
      text: "speed of prompts (default: 20000)",
      parse: decimal("--prefill-tokens-per-second", 1, 1e9),
    },
    {
      flags: "--chunk-tokens <n>",
      text: "prompt tokens of a step (default: 256)",
      parse: wholeNumber("--chunk-tokens", 1),
    },
    {
      flags: "--max-batch <n>",
      text: "requests in a batch (default: 64)",
      parse: wholeNumber("--max-batch", 1),
    },
    {
      flags: "--capacity-qps <n>",
      text: "requests per second that are let in",
      parse: decimal("--capacity-qps", 1e-3, 1e6),
    },
    {
      flags: "--noise <cv>",
      text: "variation of step times (default: 0)",
      parse: decimal("--noise", 0, 5),
    },
    {
      flags: "--speculative <k>",
      text: "up to k tokens a step and chunk (default: 1)",
      parse: wholeNumber("--speculative", 1),
    },
    {
      flags: "--error-rate <share>",
      text: "requests answered with 500",
      parse: decimal("--error-rate", 0, 1),
    },
    {
      flags: "--reset-rate <share>",
      text: "requests broken off in the middle",
      parse: decimal("--reset-rate", 0, 1),
    },
    {
      flags: "--error-event-rate <share>",
      text: "requests ended by an error event",
      parse: decimal("--error-event-rate", 0, 1),
    },
    {
      flags: "--rate-limit-qps <n>",
      text: "beyond it 429 is the answer",
      parse: decimal("--rate-limit-qps", 1e-3, 1e6),
    },
    {
      flags: "--usage <when>",
      text: "when usage is told (default: final)",
      choices: ["final", "every", "none"],
    },
    { flags: "--server-times", text: "tell the server's time of every chunk" },
    {
      flags: "--stall <cause:token:ms>",
      text: "a stall in every answer, e.g. scheduling:10:300; causes are scheduling, compute, frontend, network; may be repeated",
      repeat: true,
    },
    {
      flags: "--clock-offset <ms>",
      text: "tell times of a clock that is ahead by this (default: 0)",
      parse: decimal("--clock-offset", -1e12, 1e12),
    },
  ],
  examples: [
    [
      "millrace bench mock --port 8080 --scheduler prefill-first",
      "see what stalls do to the fluidity-index",
    ],
    ["millrace bench mock --capacity-qps 40", "something for `millrace bench capacity` to find"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/bench/mock.ts")).mockCommand(session, flags),
};

const compare: CommandSpec = {
  usage: "compare <a> <b>",
  summary: "two runs side by side, with how sure each difference is",
  text: "Reads the raw files of two runs (run.jsonl of --out), scores both with the same targets, and says figure by figure whether the second is better, worse, or cannot be told from the first: differences with 95 % intervals from a bootstrap over requests.",
  flags: [
    ...targetFlags,
    { flags: "--seed <n>", text: "of the bootstrap (default: 1)", parse: wholeNumber("--seed", 0) },
    { flags: "-o, --out <file>", text: "write an HTML report with every token of both" },
  ],
  examples: [
    ["millrace bench compare a/run.jsonl b/run.jsonl --tbt 50ms -o ab.html", "two schedulers"],
  ],
  run: async (session, { args: [a = "", b = ""], flags }) =>
    (await import("../commands/bench/compare.ts")).compareCommand(session, [a, b], flags),
};

const bench: CommandSpec = {
  usage: "bench",
  group,
  summary: "measure a live endpoint as its users feel it",
  text: "Sends a load to any OpenAI-compatible endpoint and evaluates the answers token by token: latencies from the time the schedule wanted each request, the fluidity-index, goodput, throughput, errors by class. Measures itself all the while: when the client was the bottleneck, the run says INVALID and why. Requests go out from processes of their own; a failed request counts as all its tokens missed; nothing is retried unless you ask. Exits with 3 when a promise of --slo does not hold.",
  flags: [
    ...endpointFlags,
    ...loadFlags,
    ...targetFlags,
    {
      flags: "--seed <n>",
      text: "of arrivals, lengths and prompts (default: 42)",
      parse: wholeNumber("--seed", 0),
    },
    {
      flags: "--workers <n>",
      text: "processes that send and receive (default: 1; take one per 100 streams and free core)",
      parse: wholeNumber("--workers", 1),
    },
    {
      flags: "--attribute",
      text: "ask Millrace's server for its times of every token, and say whose fault each stall was",
    },
    {
      flags: "--scrape [url]",
      text: "read the server's Prometheus metrics meanwhile (default: /metrics of its host): running, waiting, KV memory, preemptions, tokens; names of Millrace, vLLM, SGLang, llama.cpp and TGI are known",
    },
    { flags: "--label <text>", text: "name of the run in reports" },
    { flags: "--keep-text", text: "keep the generated text in the raw file" },
    {
      flags: "--prometheus <port>",
      text: "serve counters at /metrics on loopback while the run goes on",
      parse: wholeNumber("--prometheus", 0),
    },
    { flags: "--parquet", text: "also write requests.parquet and chunks.parquet to --out" },
    {
      flags: "-o, --out <dir>",
      text: "write the raw run (run.jsonl, scored again by `bench score`), report.html, report.json, requests.csv and metrics.prom",
    },
  ],
  examples: [
    ["millrace bench --url http://127.0.0.1:8080 --rate 2 --duration 60s", "two requests a second"],
    [
      "millrace bench -u http://127.0.0.1:8080 --concurrency 8 -n 200 --slo 'tbt.p99<=50ms,errors<=1%'",
      "eight users, with promises",
    ],
    [
      "millrace bench -u http://127.0.0.1:8080 --sweep 1,2,4,8 --duration 240s --shape azure-conv-2023 -o out",
      "four rates with the lengths of a real workload",
    ],
  ],
  commands: [score, compare, ...benchSearchCommands, mock],
  run: async (session, { flags }) =>
    (await import("../commands/bench/run.ts")).benchCommand(session, flags),
};

export const benchCommands: readonly CommandSpec[] = [bench];
