/** Runs a real command with a given number of CPUs and says how fast it was; for `cluster profile`. Linux. */
import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { MillraceError } from "@millrace/core";
import { ControlGroup } from "@millrace/system";

/** How CPUs are bounded: a cgroup's CPU quota, or a set of cores. */
export type CpuBound = "cgroup" | "taskset";

/** What to run and how to count. */
export interface CommandSpec {
  /** Program and arguments, started without a shell. */
  readonly argv: readonly [string, ...string[]];
  readonly bound: CpuBound;
  /**
   * A command that ends: it does `samples` samples. One that goes on: `pattern` finds the samples so far in a line of its
   * output (first group), and it is stopped after `seconds`.
   */
  readonly count:
    | { readonly samples: number }
    | { readonly pattern: RegExp; readonly seconds: number };
  readonly signal?: AbortSignal;
}

/** The bound that this machine offers: a cgroup where one can be made, else taskset. */
export function offeredBound(): CpuBound {
  try {
    using group = ControlGroup.make(`millrace-probe-${process.pid}`, ["cpu"]);
    void group;
    return "cgroup";
  } catch (error) {
    if (error instanceof MillraceError) return "taskset";
    throw error;
  }
}

/** Samples per second with `cpus` cores. Throws MillraceError USAGE when the command fails or nothing can be counted. */
export async function measureCommand(spec: CommandSpec, cpus: number): Promise<number> {
  const { argv, bound, count, signal } = spec;
  signal?.throwIfAborted();
  const cores = Math.min(availableParallelism(), Math.max(1, Math.ceil(cpus)));
  const [program, ...args] =
    bound === "taskset" ? ["taskset", "-c", `0-${cores - 1}`, ...argv] : argv;
  const environment = {
    ...process.env,
    MILLRACE_CPUS: String(cpus),
    OMP_NUM_THREADS: String(cores),
  };
  const group = bound === "cgroup" ? ControlGroup.make(`millrace-${process.pid}`, ["cpu"]) : null;
  try {
    group?.limitCpus(cpus);
    const started = performance.now();
    const child = spawn(program, args, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    if (child.pid !== undefined) group?.add(child.pid);
    const seen = watch(child, "pattern" in count ? count.pattern : null, started);
    const ended = untilEnd(child, argv[0]);
    const stop = (): void => void child.kill("SIGTERM");
    signal?.addEventListener("abort", stop);
    const timer = "seconds" in count ? setTimeout(stop, count.seconds * 1000) : null;
    const { code, killed } = await ended;
    if (timer !== null) clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    signal?.throwIfAborted();
    if (code !== 0 && !killed)
      throw new MillraceError("USAGE", `${argv[0]} ended with exit code ${code}`, {
        hint: seen.lastError === "" ? "run it by hand first" : `it said: ${seen.lastError}`,
      });
    if ("samples" in count) return count.samples / ((performance.now() - started) / 1000);
    return rateBetween(seen, argv[0]);
  } finally {
    group?.[Symbol.dispose]();
  }
}

interface Seen {
  first: { readonly at: number; readonly samples: number } | null;
  last: { readonly at: number; readonly samples: number } | null;
  lastError: string;
}

/** Keeps the first and last count of the output, and its last complaint. */
function watch(child: ChildProcess, pattern: RegExp | null, started: number): Seen {
  const seen: Seen = { first: null, last: null, lastError: "" };
  let rest = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (pattern === null) return;
    for (const line of lines) {
      const samples = Number(pattern.exec(line)?.[1] ?? Number.NaN);
      if (Number.isNaN(samples)) continue;
      const point = { at: (performance.now() - started) / 1000, samples };
      seen.first ??= point;
      seen.last = point;
    }
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    const line = text.trim().split("\n").at(-1);
    if (line) seen.lastError = line.slice(0, 200);
  });
  return seen;
}

/** From the first count to the last, so that starting up is not in it. */
function rateBetween({ first, last }: Seen, program: string): number {
  if (first === null || last === null || last.at <= first.at || last.samples <= first.samples)
    throw new MillraceError("USAGE", `${program} printed fewer than two counts of samples`, {
      hint: "check --progress against a line of its output, or give it more --seconds",
    });
  return (last.samples - first.samples) / (last.at - first.at);
}

function untilEnd(
  child: ChildProcess,
  program: string,
): Promise<{ code: number | null; killed: boolean }> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) =>
      reject(
        new MillraceError("USAGE", `${program} cannot be started: ${error.message}`, {
          hint: "name a program on the PATH, or its full path",
        }),
      ),
    );
    child.once("close", (code, signal) => resolve({ code, killed: signal === "SIGTERM" }));
  });
}
