/** One load on one server: starts it, sends, stops it, and joins what client and engine saw. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { readTextFile } from "@millrace/core/node";
import type { Profiled } from "@millrace/engine/profile";
import {
  parseDecisions,
  parseStepTimings,
  type RequestTable,
  type StepCostModel,
} from "@millrace/serving";
import { type MachineWatch, referenceSpeed, watchMachine } from "./machine.ts";
import { joinRun, type MeasuredRun, send } from "./measured.ts";
import { startServer } from "./server.ts";

export interface StageOptions {
  /** Words of `millrace serve`. */
  readonly serve: readonly string[];
  readonly modelPath: string;
  readonly modelName: string;
  /** Folder for the engine's logs; made when it is not there. */
  readonly folder: string;
  readonly requests: RequestTable;
  readonly seed: string;
  readonly cost: StepCostModel;
  readonly profiled: Profiled;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number, note: string) => void;
}

/** What the machine did during a stage. */
export interface StageMachine extends MachineWatch {
  /** Reference batches after the run against before it: 1 = as fast, 1.1 = took 10 % longer. */
  readonly drift: number;
  /** Mean logarithm of their seconds, before and after. */
  readonly speed: number;
}

export interface Stage {
  readonly run: MeasuredRun;
  readonly machine: StageMachine;
}

/** Runs it. Rejects with ENGINE_FAILED, INTERRUPTED. */
export async function runStage(options: StageOptions): Promise<Stage> {
  const { folder, signal } = options;
  mkdirSync(folder, { recursive: true });
  const decisions = join(folder, "decisions.jsonl");
  const timings = join(folder, "timings.jsonl");
  const before = await referenceSpeed(options.profiled);
  const logs = ["--port", "0", "--decision-log", decisions, "--timing-log", timings];
  const quiet = ["--set", "logs.requests=false"];
  options.onProgress(0, options.requests.count, "starting the server");
  const server = await startServer([...options.serve, ...logs, ...quiet], signal);
  let client: Awaited<ReturnType<typeof send>>;
  let watch: MachineWatch;
  try {
    const stopWatch = watchMachine();
    client = await send({
      url: server.url,
      model: options.modelName,
      modelPath: options.modelPath,
      requests: options.requests,
      seed: options.seed,
      signal,
      onProgress: options.onProgress,
    });
    watch = stopWatch();
  } finally {
    await server.stop();
  }
  const after = await referenceSpeed(options.profiled);
  const run = joinRun(
    client,
    parseDecisions(readTextFile(decisions), decisions),
    parseStepTimings(readTextFile(timings), timings),
    options.cost,
  );
  const machine = { ...watch, drift: Math.exp(after - before), speed: (before + after) / 2 };
  return { run, machine };
}

/** Flags by their camel-case names as words of a command line. */
export function wordsOf(flags: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === true) return [flag];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => [flag, String(one)]);
  });
}
