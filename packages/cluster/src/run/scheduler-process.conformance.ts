/** A scheduler as a process of its own, for tests that kill it: `node … DIR` runs DIR/jobs.json on the local runner. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { LocalRunner } from "../runners/local/local-runner.ts";
import { runFiles } from "./charge.ts";
import { jobsFileSchema } from "./jobs-file.ts";
import { runCluster } from "./open-run.ts";

const dir = process.argv[2] as string;
const folder = join(dir, "run");
const path = join(dir, "jobs.json");
const content = jobsFileSchema.parse(JSON.parse(readFileSync(path, "utf8")));
const runner = new LocalRunner({
  state: runFiles(folder).runner,
  cluster: `killed-${process.ppid}`,
  servers: [{ name: "here", gpus: 3, cpus: 3, hostBytes: 3e9 }],
  bound: "taskset",
});
const { ended } = await runCluster({
  folder,
  file: { path, content },
  models: new Map(),
  runner,
  note: () => {},
  signal: new AbortController().signal,
});
process.stdout.write(`${ended}\n`);
