/** The commands that run a model: serve, generate, profile. */
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Engine:";

/** Flags of every command that opens an engine. */
export const engineFlags: readonly FlagSpec[] = [
  { flags: "-m, --model <file>", text: "GGUF file, the first of a split model" },
  { flags: "-c, --config <file>", text: "settings (YAML or JSON); flags win over it" },
  {
    flags: "-s, --set <path=value>",
    text: "override a key of the file, e.g. kv.layout=sliced; repeatable",
    repeat: true,
  },
  {
    flags: "--executor <name>",
    text: "what computes (default: auto, ggml where it knows the architecture)",
    choices: ["auto", "ggml", "libllama"],
  },
  { flags: "--device <name>", text: "device to compute on (default: CPU)" },
  {
    flags: "--threads <n>",
    text: "compute threads (default: the cores, less one above two)",
    parse: wholeNumber("--threads", 1),
  },
  {
    flags: "--context <n>",
    text: "most tokens of prompt and output (default: the model's, at most 8192)",
    parse: wholeNumber("--context", 1),
  },
  { flags: "--kv-memory <size>", text: "physical memory of the KV cache, e.g. 2GiB" },
];

const serve: CommandSpec = {
  usage: "serve",
  group,
  summary: "serve a model to OpenAI clients",
  text: "Serves a GGUF model over the OpenAI API: completions, chat, embeddings, metrics. Batches are stall-free (Sarathi-Serve) and the KV cache grows page by page in contiguous virtual memory (vAttention). SIGTERM or Ctrl-C drains: running requests end, new ones are refused.",
  flags: [
    ...engineFlags,
    { flags: "--host <address>", text: "address to listen on (default: 127.0.0.1)" },
    {
      flags: "-p, --port <n>",
      text: "0 takes a free one (default: 8080)",
      parse: wholeNumber("--port", 0),
    },
    { flags: "--name <name>", text: "name shown to clients (default: the model's own)" },
    { flags: "--api-key-file <file>", text: "file with one accepted key per line" },
    {
      flags: "--chat-template <file>",
      text: "Jinja chat template, or a name such as chatml, instead of the model's own",
    },
    {
      flags: "--scheduler <type>",
      text: "default: sarathi-serve",
      suggestions: "schedulers",
    },
    {
      flags: "--chunk-size <n>",
      text: "prompt tokens of a step (default: 128)",
      parse: wholeNumber("--chunk-size", 1),
    },
    {
      flags: "--batch-size-cap <n>",
      text: "most sequences at once (default: 32)",
      parse: wholeNumber("--batch-size-cap", 1),
    },
    {
      flags: "--kv <type>",
      text: "vattention, or static: all memory from the start (default: vattention)",
    },
    { flags: "--page-size <size>", text: "physical page, 4KiB to 2MiB (default: 64KiB or more)" },
    { flags: "--no-prefix-sharing", text: "do not share pages of prompts that begin alike" },
    { flags: "--profile <file>", text: "step profile, for scheduler.chunking slo" },
    { flags: "--deterministic", text: "tokens do not depend on batch mates; slower" },
    {
      flags: "--max-waiting <n>",
      text: "waiting requests beyond which new ones get 429 (default: 256)",
      parse: wholeNumber("--max-waiting", 1),
    },
    { flags: "--decision-log <file>", text: "write what the simulator can replay" },
    { flags: "--timing-log <file>", text: "write one line per step" },
    { flags: "--print-unit", text: "print a systemd unit for this command line, and end" },
  ],
  examples: [
    [
      "millrace model make --out small.gguf && millrace serve --model small.gguf",
      "a server to try, with a model of random weights",
    ],
    ["millrace serve --config serve.yaml --port 9000", "settings from a file, one of them changed"],
    [
      "millrace serve -m model.gguf --print-unit | sudo tee /etc/systemd/system/millrace.service",
      "as a service of the machine",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/serve.ts")).serveCommand(session, flags),
};

const generate: CommandSpec = {
  usage: "generate [prompt]",
  group,
  summary: "continue one prompt in the terminal",
  text: "Loads a model, continues one prompt and prints the text while it comes. Without a prompt, reads it from stdin.",
  flags: [
    ...engineFlags,
    {
      flags: "-n, --max-tokens <n>",
      text: "most new tokens (default: 256)",
      parse: wholeNumber("--max-tokens", 1),
    },
    {
      flags: "-t, --temperature <x>",
      text: "0 takes the likeliest token (default: 0.8)",
      parse: decimal("--temperature", 0, 100),
    },
    { flags: "--top-k <n>", text: "default: off", parse: wholeNumber("--top-k", 0) },
    { flags: "--top-p <p>", text: "default: 1", parse: decimal("--top-p", 0, 1) },
    { flags: "--min-p <p>", text: "default: 0.05", parse: decimal("--min-p", 0, 1) },
    { flags: "--seed <n>", text: "default: random", parse: wholeNumber("--seed", 0) },
    { flags: "--stop <text>", text: "text that ends the output; repeatable", repeat: true },
    { flags: "--chat", text: "put the prompt through the model's chat template" },
    {
      flags: "--chat-template <file>",
      text: "Jinja chat template, or a name such as chatml, instead of the model's own",
    },
    { flags: "--grammar <file>", text: "GBNF grammar the output must follow" },
    { flags: "--json-schema <file>", text: "JSON schema the output must follow" },
    { flags: "--ignore-eos", text: "go on to --max-tokens" },
  ],
  examples: [
    ['millrace generate -m small.gguf "Once upon a time" --temperature 0', "greedy"],
    ["cat question.txt | millrace generate -m model.gguf --chat", "a question from a file"],
    [
      'millrace generate -m model.gguf "A person:" --json-schema person.json',
      "JSON that fits a schema",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/generate.ts")).generateCommand(session, args[0], flags),
};

const profile: CommandSpec = {
  usage: "profile",
  group,
  summary: "measure what steps cost on this machine",
  text: "Runs a grid of batches over chunk length, KV depth and number of decodes, then serves a short load to learn what the serving loop, HTTP and tokenisation add, and writes both: the file that simulate reads with predictor profile, and that serve needs for scheduler.chunking slo.",
  flags: [
    ...engineFlags,
    {
      flags: "--batch-size-cap <n>",
      text: "most sequences of a batch (default: 32)",
      parse: wholeNumber("--batch-size-cap", 1),
    },
    { flags: "--quick", text: "a coarse grid and a short load, about 30 s for a small model" },
    {
      flags: "--learn <time>",
      text: "how long the load is that the serving loop is learnt from (default: 40s; 10s with --quick); 0s = none",
    },
    {
      flags: "--scale <file>",
      text: "instead: carry the profile of another model on this machine over to the geometry of this one",
    },
    {
      flags: "--from <files...>",
      text: "instead: fit raw runs of `millrace bench --out`, of any server, from its tokens alone; several loads and mixes of lengths hold for more",
    },
    {
      flags: "--rounds <n>",
      text: "times each batch is measured (default: 7; 5 with --quick)",
      parse: wholeNumber("--rounds", 3),
    },
    { flags: "--seed <n>", text: "default: 42", parse: wholeNumber("--seed", 0) },
    { flags: "-o, --out <file>", text: "default: profile.json" },
  ],
  examples: [
    ["millrace profile --model small.gguf --quick", "in half a minute"],
    [
      "millrace profile -m model.gguf && millrace simulate -c run.yaml -s predictor.type=profile -s predictor.path=profile.json",
      "then simulate this machine",
    ],
    [
      "millrace profile -m larger.gguf --scale profile.json -o larger.json",
      "what a model of another geometry will take, without measuring it",
    ],
    [
      "millrace bench --url https://llm.example.com --rate 2 --out run && millrace profile --from run/run.jsonl",
      "a server that is not ours",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/profile.ts")).profileCommand(session, flags),
};

export const engineCommands: readonly CommandSpec[] = [serve, generate, profile];
