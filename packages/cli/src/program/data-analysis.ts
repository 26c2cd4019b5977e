/** `millrace data analyze` and `millrace data bench`. */
import { sourceFlags } from "./data-serving.ts";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const storageFlag: FlagSpec = {
  flags: "--storage <model>",
  text: "hdd, sata-ssd, nvme-ssd, cloud-disk, or rates such as 60MB/s,150iops",
};

const seedFlag: FlagSpec = {
  flags: "--seed <n>",
  text: "of orders and crops (default: 1)",
  parse: wholeNumber("--seed", 0),
};

const analyze: CommandSpec = {
  usage: "analyze <dataset> [command...]",
  summary: "what a training job waits for, and how much of what would be enough",
  text: 'Measures the stages of a job on this machine, each with the others out of the way: preparation per core, the cache, storage, and other servers\' caches. Splits an epoch into compute, prep stall and fetch stall by runs that differ in one stage, and answers with a model of the stages: the least cache, cores, storage speed or network that is enough, the fastest accelerator that data keeps up with, other cache policies, several jobs. The profile it writes is what `millrace cluster` schedules by. Behind -- a training command may follow: it is run three times (without a page cache, with everything in it, and with synthetic input) and tells the accelerators\' rate and its own stalls; its source is wrapped by instrument() of @millrace/data, or it appends {"samples": n, "seconds": s} per step to the file MILLRACE_ANALYZE_OUT. Takes a minute or two; run it while nothing else runs.',
  flags: [
    {
      flags: "--ingestion-rate <n>",
      text: "samples per second that the job's accelerators take",
      parse: decimal("--ingestion-rate", 1e-3, 1e9),
    },
    { flags: "--cache <size>", text: "cache that the job has (default: none), e.g. 64GB or 40%" },
    {
      flags: "--cores <n>",
      text: "CPU cores that the job has (default: all)",
      parse: wholeNumber("--cores", 1),
    },
    {
      flags: "--policy <name>",
      text: "how the cache decides what to keep (default: minio)",
      choices: ["minio", "lru", "sequential", "none"],
    },
    {
      flags: "--prep <name>",
      text: "image: decode, random crop of 224, flip, normalise (default); none: fetching alone",
      choices: ["image", "none"],
    },
    {
      flags: "--batch <n>",
      text: "samples of a batch (default: 64)",
      parse: wholeNumber("--batch", 1),
    },
    {
      flags: "--servers <n>",
      text: "servers that train one model, each with such a cache; needs --peer",
      parse: wholeNumber("--servers", 1),
    },
    {
      flags: "--peer <url>",
      text: "store of another server (redis:// or memcached://), to measure the network by",
      repeat: true,
    },
    {
      flags: "--jobs <n>",
      text: "jobs on this server (default: 1)",
      parse: wholeNumber("--jobs", 1),
    },
    { flags: "--coordinated", text: "they prepare each batch once, together" },
    {
      flags: "--what-if <question>",
      text: "cache=64GB, cores=8, storage=500MB/s, network=1GB/s, accelerator=2000 or jobs=4; may be repeated",
      repeat: true,
    },
    ...sourceFlags,
    { ...storageFlag, text: `emulated storage instead of the real one: ${storageFlag.text}` },
    {
      flags: "--items <n>",
      text: "items to measure with (default: 2000)",
      parse: wholeNumber("--items", 64),
    },
    {
      flags: "--epochs <n>",
      text: "epochs over them per figure (default: 3)",
      parse: wholeNumber("--epochs", 1),
    },
    { flags: "--profile <file>", text: "write the job profile (millrace.job-profile/1)" },
    { flags: "--name <name>", text: "name of the job in the profile (default: job)" },
    {
      flags: "--gpus <n>",
      text: "GPUs that the rate is of, for the profile (default: 1)",
      parse: wholeNumber("--gpus", 1),
    },
    seedFlag,
    { flags: "-o, --out <dir>", text: "write result.json and report.html" },
  ],
  examples: [
    [
      "millrace data analyze imagenet/train --ingestion-rate 1500 --cache 40%",
      "is 40 % of the data set in memory enough for 1500 samples/s?",
    ],
    [
      "millrace data analyze imagenet/train --ingestion-rate 1500 --what-if cores=16 --profile resnet.json",
      "with twice the cores; keep the profile for the cluster scheduler",
    ],
    [
      "millrace data analyze imagenet/train --cache 64GB -- python3 train.py --data imagenet/train",
      "the rate and the stalls of a training program",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/data/analyze.ts")).dataAnalyzeCommand(
      session,
      args[0] ?? "",
      (args[1] ?? []) as readonly string[],
      flags,
    ),
};

const bench: CommandSpec = {
  usage: "bench",
  summary: "caches, coordinated jobs and servers, side by side on this machine",
  text: "Real experiments with an emulated accelerator. cache: one job with the page cache, LRU and MinIO in the same memory; as root the page cache is bounded by a memory group and reads of the real device are held to a speed, otherwise storage is emulated and says so. coordinated: k jobs, each preparing for itself, against one preparation service. partitioned: servers as network namespaces (root), from their disks against a cache over all of them. Run it while nothing else runs.",
  flags: [
    {
      flags: "--only <list>",
      text: "experiments: cache,coordinated,partitioned (default: all)",
    },
    { flags: "--dataset <dir>", text: "images in folders per class (default: made, and removed)" },
    {
      flags: "--images <n>",
      text: "images to make, about 97 kB each (default: 3000)",
      parse: wholeNumber("--images", 128),
    },
    { flags: "--shares <list>", text: "cached shares (default: 35%,65%)" },
    {
      flags: "--accelerator <n>",
      text: "samples per second (default: 95% of what MinIO feeds at the largest share)",
      parse: decimal("--accelerator", 1e-3, 1e9),
    },
    { ...storageFlag, text: `${storageFlag.text} (default: 60MB/s; hdd for servers)` },
    {
      flags: "--prep <name>",
      text: "preparation in the cache experiment (default: none, so that fetching decides)",
      choices: ["image", "none"],
    },
    { flags: "--sequential", text: "also the page cache with reads in file order" },
    { flags: "--jobs <list>", text: "jobs of the coordinated experiment (default: 4,8)" },
    { flags: "--servers <list>", text: "servers of the partitioned one (default: 2,4)" },
    {
      flags: "--store <name>",
      text: "their stores (default: redis)",
      choices: ["redis", "memcached"],
    },
    {
      flags: "--epochs <n>",
      text: "epochs per figure (default: 3)",
      parse: wholeNumber("--epochs", 1),
    },
    {
      flags: "--emulated",
      text: "emulate storage and memory bounds although this user might not need to",
    },
    seedFlag,
    { flags: "-o, --out <dir>", text: "write result.json and report.html" },
  ],
  examples: [
    ["millrace data bench --only cache --out bench/", "page cache, LRU and MinIO, with a report"],
    ["millrace data bench --only partitioned --servers 2 --store memcached", "two servers"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/data/bench.ts")).dataBenchCommand(session, flags),
};

/** Subcommands of `millrace data`. */
export const dataAnalysisCommands: readonly CommandSpec[] = [analyze, bench];
