/** Jobs that end their own process, for the tests of the pool. */
import { appendFileSync, readFileSync } from "node:fs";

export type KillInput =
  | { readonly kind: "pid" }
  | { readonly kind: "hang"; readonly log: string }
  | { readonly kind: "die"; readonly log: string; readonly times: number };

/** Answers its process id; dies by SIGKILL the first `times` times; hangs for ever. Attempts are logged, a pid a line. */
export function run(input: KillInput): number | Promise<number> {
  if (input.kind === "pid") return process.pid;
  appendFileSync(input.log, `${process.pid}\n`);
  if (input.kind === "hang") return new Promise(() => setInterval(() => {}, 1000));
  const attempts = readFileSync(input.log, "utf8").trim().split("\n").length;
  if (attempts <= input.times) process.kill(process.pid, "SIGKILL");
  return attempts <= input.times ? new Promise(() => {}) : process.pid;
}
