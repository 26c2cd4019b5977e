/** The commands that serve and look at data sets: data serve, inspect. */
import { parseBytes } from "@millrace/core";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const size = (flag: string) => (value: string) => parseBytes(value, flag);

/** How a data set is opened. */
export const sourceFlags: readonly FlagSpec[] = [
  {
    flags: "--kind <form>",
    text: "form of the data set (default: told from the path)",
    choices: ["folder", "webdataset", "jsonl", "tokens", "text", "parquet", "tfrecord", "mds"],
  },
  { flags: "--payload <name>", text: "column, feature or extension of the payload" },
  { flags: "--label <name>", text: "column, feature or field of the label" },
  {
    flags: "--tokens <n>",
    text: "tokens of a sample (default: 1024)",
    parse: wholeNumber("--tokens", 1),
  },
  {
    flags: "--token-bytes <n>",
    text: "bytes of a stored token, 2 or 4 (default: 2)",
    choices: ["2", "4"],
  },
  {
    flags: "--tokenizer <name>",
    text: "tokens of a text file: model.gguf, tokenizer.json or a bundled vocabulary (default: bytes)",
  },
];

/** How samples are prepared. */
export const transformFlags: readonly FlagSpec[] = [
  {
    flags: "--batch <n>",
    text: "samples of a batch (default: 64)",
    parse: wholeNumber("--batch", 1),
  },
  {
    flags: "--size <pixels>",
    text: "side of prepared images (default: 224)",
    parse: wholeNumber("--size", 1),
  },
  {
    flags: "--mode <name>",
    text: "train: random crops and flips; evaluate: centre crops (default: train)",
    choices: ["train", "evaluate"],
  },
  { flags: "--type <name>", text: "u8 or f32, normalised (default: u8)", choices: ["u8", "f32"] },
  { flags: "--layout <name>", text: "nchw or nhwc (default: nchw)", choices: ["nchw", "nhwc"] },
  {
    flags: "--decoder <name>",
    text: "decoder of JPEG (default: auto)",
    choices: ["auto", "npm-turbo", "system-turbo", "vips"],
  },
];

const serve: CommandSpec = {
  usage: "serve <data>",
  summary: "prepare each batch once for all jobs of this server",
  text: "Runs until it is stopped. Jobs join over a unix socket and take prepared batches from shared memory; each batch of an epoch is prepared once and used once by every job. The Python side is python/millrace_loader.py of @millrace/data.",
  flags: [
    ...sourceFlags,
    ...transformFlags,
    {
      flags: "--seed <n>",
      text: "seed of jobs that bring none (default: 0)",
      parse: wholeNumber("--seed", 0),
    },
    { flags: "--no-shuffle", text: "the order of the data set in every epoch" },
    { flags: "--drop-last", text: "leave out the short batch at an epoch's end" },
    {
      flags: "--producers <n>",
      text: "processes that prepare (default: one per core)",
      parse: wholeNumber("--producers", 1),
    },
    {
      flags: "--staging <bytes>",
      text: "bound of prepared batches in shared memory (default: eight batches)",
      parse: size("--staging"),
    },
    {
      flags: "--cache <bytes>",
      text: "bound of the cache of raw samples (default: none)",
      parse: size("--cache"),
    },
    {
      flags: "--socket <path>",
      text: "where jobs join (default: in this user's folder of shared memory)",
    },
    {
      flags: "--bad-samples <policy>",
      text: "what happens to samples that cannot be used (default: replace)",
      choices: ["skip", "replace", "fail"],
    },
    {
      flags: "--detach <seconds>",
      text: "a job that holds the others up so long goes on by itself (default: they wait)",
      parse: decimal("--detach", 0.1, 86_400),
    },
    {
      flags: "--peer <url>",
      text: "member of a cache over servers, between cache and storage: redis://HOST:PORT (rediss, memcached, memcacheds), with what it offers behind a comma: redis://a:6379,200GB (default: an even share); the same list on every server",
      repeat: true,
    },
    { flags: "--peer-manifest <file>", text: "checksums that what peers give is held against" },
    {
      flags: "--rank <n>",
      text: "this server's share of every epoch, when several train one model (default: 0)",
      parse: wholeNumber("--rank", 0),
    },
    {
      flags: "--world <n>",
      text: "of so many servers (default: 1)",
      parse: wholeNumber("--world", 1),
    },
    {
      flags: "--metrics <port>",
      text: "serve Prometheus metrics on this port of this machine, or on HOST:PORT",
    },
  ],
  examples: [
    ["millrace data serve imagenet/train --batch 64 --cache 40GB", "images, folder per class"],
    ["millrace data serve corpus.bin --tokens 2049 --batch 16", "packed tokens"],
    [
      "millrace data serve imagenet/train --peer redis://a:6379 --peer redis://b:6379 --rank 0 --world 2 --metrics 9100",
      "one of two servers that share their memory; user and password from MILLRACE_PEER_USER and MILLRACE_PEER_PASSWORD",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/data/serve.ts")).dataServeCommand(session, args[0] ?? "", flags),
};

const inspect: CommandSpec = {
  usage: "inspect [data]",
  summary: "what a data set holds, what is cached of it, and what lies in shared memory",
  text: "With a data set: its form, items, sizes, classes, and what of it the byte cache holds; --verify reads every item. Without: this user's staging rings and caches in shared memory; --clean removes rings that services left behind, --drop-caches also the caches that no job uses.",
  flags: [
    ...sourceFlags,
    { flags: "--verify", text: "read every item and report those that cannot be read" },
    { flags: "--clean", text: "remove staging rings whose service is no more" },
    { flags: "--drop-caches", text: "remove caches that no job uses" },
  ],
  examples: [
    ["millrace data inspect imagenet/train", "before training"],
    ["millrace data inspect --clean", "after a crash"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/data/inspect.ts")).dataInspectCommand(session, args[0], flags),
};

export const dataServingCommands: readonly CommandSpec[] = [serve, inspect];
