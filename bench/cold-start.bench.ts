/** Start of the command line: `millrace simulate` of ten requests in a fresh process, and bare Node beside it, interleaved. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { median, report } from "./harness.ts";

const cli = fileURLToPath(new URL("../packages/cli/bin/millrace.js", import.meta.url));
const simulate = [
  "simulate",
  "--model",
  "llama-3-8b",
  "--device",
  "a100",
  "--shape",
  "azure-conv-2023",
  "--qps",
  "4",
  "--requests",
  "10",
  "--json",
];

function wallMs(args: readonly string[]): number {
  const before = performance.now();
  const r = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (r.status !== 0) throw new Error(`${args.join(" ")} ended with ${r.status}: ${r.stderr}`);
  return performance.now() - before;
}

const bare: number[] = [];
const whole: number[] = [];
for (let i = 0; i < 9; i++) {
  bare.push(wallMs(["-e", ""]));
  whole.push(wallMs([cli, ...simulate]));
}
report("bare Node: wall", median(bare), "ms");
report("millrace simulate, 10 requests: wall", median(whole), "ms", 400);
