/** Flags of the commands that measure endpoints, in groups that several of them share. */
import type { FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

/** Which endpoint, and how to talk to it. */
export const endpointFlags: readonly FlagSpec[] = [
  { flags: "-u, --url <url>", text: "endpoint, e.g. http://127.0.0.1:8080 (its /v1 is found)" },
  {
    flags: "-m, --model <name>",
    text: "model to ask for; default: the only one that the server lists",
  },
  {
    flags: "--api <kind>",
    text: "operation to call (default: chat)",
    choices: ["chat", "completions"],
  },
  {
    flags: "--api-key <key>",
    text: "bearer token; default: MILLRACE_API_KEY, then OPENAI_API_KEY",
  },
  { flags: "--header <name:value>", text: "extra header; may be repeated", repeat: true },
  { flags: "--ca <file>", text: "PEM file of authorities to trust too" },
  { flags: "--insecure", text: "do not verify certificates" },
  { flags: "--proxy <url>", text: "HTTP proxy to go through" },
  { flags: "--choices <n>", text: "answers per request (n)", parse: wholeNumber("--choices", 1) },
  {
    flags: "--natural-end",
    text: "let answers end by themselves: no ignore_eos, no min_tokens",
  },
  { flags: "--extra-body <json>", text: "object merged into every request body" },
  {
    flags: "--retry <who>",
    text: "none: 429 and 503 are failures (default); client: wait as told and try again",
    choices: ["none", "client"],
  },
  { flags: "--timeout <times>", text: "e.g. connect=5s,first-token=60s,idle=30s,total=10min" },
];

export const tokenizerFlag: FlagSpec = {
  flags: "--tokenizer <name>",
  text: "counts tokens: a model.gguf, a tokenizer.json, o200k_base or cl100k_base; prompts then have exact lengths",
};

/** What is sent, and when. */
export const loadFlags: readonly FlagSpec[] = [
  {
    flags: "--rate <qps>",
    text: "open loop: requests per second, sent whether or not others have been answered",
    parse: decimal("--rate", 1e-6, 1e6),
  },
  {
    flags: "--arrivals <process>",
    text: "of an open loop (default: poisson)",
    choices: ["poisson", "gamma", "constant"],
  },
  {
    flags: "--cv <x>",
    text: "coefficient of variation of gamma arrivals (default: 2, bursty)",
    parse: decimal("--cv", 0.01, 100),
  },
  { flags: "--ramp <from..to>", text: "open loop whose rate grows over --duration, e.g. 1..20" },
  { flags: "--sweep <rates>", text: "rates one after another over --duration, e.g. 1,2,4,8" },
  {
    flags: "--concurrency <n>",
    text: "closed loop: so many users, each sending when its last answer has ended",
    parse: wholeNumber("--concurrency", 1),
  },
  {
    flags: "-n, --requests <n>",
    text: "requests to send (default: 100 without --duration)",
    parse: wholeNumber("--requests", 1),
  },
  { flags: "--duration <time>", text: "how long requests arrive, e.g. 60s" },
  { flags: "--prompt-tokens <n>", text: "prompt length: 256 (default), or a range 100..400" },
  { flags: "--output-tokens <n>", text: "answer length: 64 (default), or a range 10..100" },
  {
    flags: "--shape <name>",
    text: "lengths of a known workload instead; `millrace workloads` lists them",
    suggestions: "shapes",
  },
  {
    flags: "--max-tokens <n>",
    text: "most tokens of a request, prompt and answer",
    parse: wholeNumber("--max-tokens", 2),
  },
  { flags: "--prompts <file>", text: "prompts of a file: JSON Lines or ShareGPT" },
  {
    flags: "--trace <file>",
    text: "arrivals and lengths of a trace; `millrace trace` lists formats",
  },
  tokenizerFlag,
  { flags: "--shared-prefix <tokens[:groups]>", text: "prompts begin alike, e.g. 512 or 512:8" },
  {
    flags: "--turns <n>",
    text: "turns of each conversation: 3, or a range 2..6",
  },
  { flags: "--think <time>", text: "pause of a user between turns (default: 1s)" },
  {
    flags: "--warmup <n>",
    text: "requests before the clock starts (default: 2)",
    parse: wholeNumber("--warmup", 0),
  },
  {
    flags: "--max-concurrency <n>",
    text: "most requests in flight; later ones wait, and their wait counts",
    parse: wholeNumber("--max-concurrency", 1),
  },
  { flags: "--refuse-at-cap", text: "refuse at --max-concurrency instead of waiting" },
  { flags: "--drain <time>", text: "how long the last answers may take after the last arrival" },
  {
    flags: "--max-cost <dollars:prompt:output>",
    text: "spend no more; prices per million tokens, e.g. 5:2.5:10",
  },
];

/** What a run is held against. */
export const targetFlags: readonly FlagSpec[] = [
  { flags: "--ttft <time>", text: "deadline of the first token (default: 2s)" },
  { flags: "--tbt <time>", text: "deadline between tokens (default: 100ms)" },
  {
    flags: "--prefill-curve <file>",
    text: "first-token deadline by prompt length, as `millrace bench prefill` measured it; --ttft is then the slack",
  },
  {
    flags: "--slo <promises>",
    text: "exit with 3 unless they hold, e.g. 'ttft.p90<=1s,tbt.p99<=100ms,fluidity>=0.9,errors<=1%'",
  },
  {
    flags: "--compat <name>",
    text: "etalon: the fluidity-index in its float arithmetic, digit for digit",
    choices: ["etalon"],
  },
];
