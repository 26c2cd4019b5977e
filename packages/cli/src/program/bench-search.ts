/** `millrace bench prefill` and `millrace bench capacity`: what is found by measuring an endpoint again and again. */
import { endpointFlags, loadFlags, targetFlags, tokenizerFlag } from "./bench-flags.ts";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const seedFlag: FlagSpec = {
  flags: "--seed <n>",
  text: "of order, lengths, arrivals and prompts (default: 42)",
  parse: wholeNumber("--seed", 0),
};

const prefill: CommandSpec = {
  usage: "prefill",
  summary: "measure the time to first token over prompt lengths, on an idle endpoint",
  text: "Sends prompts of growing lengths, one at a time and every one new to the server, several times each in an order that mixes the lengths, and fits seconds = constant + linear n + quadratic n². Each length is also predicted from the others, which says how far the curve can be trusted between them. The file makes deadlines of first tokens that grow with the prompt (--prefill-curve of `bench` and `bench capacity`). Run it while nothing else uses the endpoint.",
  flags: [
    ...endpointFlags,
    {
      flags: "--longest <tokens>",
      text: "longest prompt (default: 8192); the curve answers up to 1.25 times that",
      parse: wholeNumber("--longest", 2),
    },
    {
      flags: "--shortest <tokens>",
      text: "shortest prompt (default: 64); powers of two lie between",
      parse: wholeNumber("--shortest", 1),
    },
    {
      flags: "--lengths <list>",
      text: "prompt lengths instead, at least 4, e.g. 100,500,2000,8000",
    },
    {
      flags: "--repeats <n>",
      text: "requests per length (default: 5)",
      parse: wholeNumber("--repeats", 1),
    },
    {
      flags: "--statistic <name>",
      text: "what stands for the repeats of a length (default: p10)",
      choices: ["min", "p10", "p25", "median"],
    },
    {
      flags: "--output-tokens <n>",
      text: "tokens asked for (default: 4)",
      parse: wholeNumber("--output-tokens", 1),
    },
    {
      flags: "--warmup <n>",
      text: "requests before the first that counts (default: 2)",
      parse: wholeNumber("--warmup", 0),
    },
    tokenizerFlag,
    seedFlag,
    { flags: "-o, --out <file>", text: "write the curve, e.g. curve.json" },
    {
      flags: "--html <file>",
      text: "write a page: curve, band, repeats, how each length is predicted from the others",
    },
  ],
  examples: [
    ["millrace bench prefill --url http://127.0.0.1:8080 -o curve.json", "measure and keep"],
    [
      "millrace bench -u http://127.0.0.1:8080 --rate 2 --prefill-curve curve.json --ttft 300ms",
      "then hold a load against it, with 300 ms to wait",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/bench/prefill.ts")).prefillCommand(session, flags),
};

/** Flags of the load that a probe has, whatever its rate. */
const probeLoad = new Set([
  "--arrivals",
  "--cv",
  "--prompt-tokens",
  "--output-tokens",
  "--shape",
  "--max-tokens",
  "--tokenizer",
  "--shared-prefix",
  "--turns",
  "--think",
  "--warmup",
  "--drain",
]);

const nameOf = ({ flags }: FlagSpec): string => /--[a-z-]+/.exec(flags)?.[0] ?? "";

const capacity: CommandSpec = {
  usage: "capacity",
  summary: "find the highest rate at which a live endpoint keeps an SLO",
  text: "Probes rate after rate with open-loop runs: by growing factors until one misses the SLO, then closer and closer to the boundary. A verdict is evidence, not proof: what the sample of a run leaves in doubt is probed again, a wrong verdict costs a few probes and not the answer, and a run in which the client was the bottleneck counts for nothing and is repeated. Failed requests and a queue that grows miss a rate, too. Draws the fluidity-index against the rate, with its band. Ctrl-C keeps what was found.",
  flags: [
    ...endpointFlags,
    {
      flags: "--start <qps>",
      text: "first rate to try (default: 1, or what --predict says)",
      parse: decimal("--start", 1e-6, 1e6),
    },
    {
      flags: "--predict <file>",
      text: "start from plan.json of `millrace plan --out`, or from the report of an earlier search",
    },
    {
      flags: "--replicas <n>",
      text: "replicas behind the endpoint, for --predict with a plan (default: 1)",
      parse: wholeNumber("--replicas", 1),
    },
    {
      flags: "--min-rate <qps>",
      text: "lowest rate to try (default: a thousandth of the start)",
      parse: decimal("--min-rate", 1e-6, 1e6),
    },
    {
      flags: "--max-rate <qps>",
      text: "highest rate to try (default: ten thousand times the start)",
      parse: decimal("--max-rate", 1e-6, 1e7),
    },
    { flags: "--tolerance <share>", text: "how well to know the capacity (default: 2.5%)" },
    { flags: "--confidence <share>", text: "and how surely (default: 92%)" },
    {
      flags: "--max-probes <n>",
      text: "valid runs at most (default: 40)",
      parse: wholeNumber("--max-probes", 1),
    },
    {
      flags: "--probe-requests <n>",
      text: "requests that a probe aims at (default: 200)",
      parse: wholeNumber("--probe-requests", 1),
    },
    {
      flags: "--probe-time <times>",
      text: "how long requests of a probe arrive: 20s..120s (default), or one time",
    },
    ...loadFlags.filter((flag) => probeLoad.has(nameOf(flag))),
    ...targetFlags.filter((flag) => !["--compat", "--slo"].includes(nameOf(flag))),
    {
      flags: "--slo <promises>",
      text: "what a rate has to keep (default: fluid-requests>=99%, errors<=1%)",
    },
    seedFlag,
    {
      flags: "--workers <n>",
      text: "processes that send and receive (default: 1)",
      parse: wholeNumber("--workers", 1),
    },
    {
      flags: "-o, --out <dir>",
      text: "write capacity.json, report.html and the raw run of each probe",
    },
  ],
  examples: [
    [
      "millrace bench capacity --url http://127.0.0.1:8080 --slo 'ttft.p90<=1s,tbt.p99<=100ms'",
      "from one request per second on",
    ],
    [
      "millrace bench capacity -u http://127.0.0.1:8080 --prefill-curve curve.json --ttft 300ms --tbt 30ms",
      "the paper's SLO: 99 % of requests with a fluidity-index of at least 0.9",
    ],
    [
      "millrace plan --config plan.yaml --out plan && millrace bench capacity -u http://127.0.0.1:8080 --predict plan/plan.json",
      "from a prediction: about half of the probes",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/bench/capacity.ts")).capacityCommand(session, flags),
};

/** Subcommands of `millrace bench`. */
export const benchSearchCommands: readonly CommandSpec[] = [prefill, capacity];
