/**
 * One load on one server: starts it, sends, stops it, and joins what client and engine saw. Before and after the load a
 * short one of another kind runs on the same server, from whose steps the speed of the machine at that moment is taken.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import {
  type DecisionHead,
  type ProfileCost,
  parseDecisions,
  parseStepTimings,
  type RequestTable,
  type StepSpeed,
  stepSpeed,
} from "@millrace/serving";
import { disturbed, type MachineWatch, watchMachine } from "./machine.ts";
import {
  type ClientRun,
  joinRun,
  type MeasuredRun,
  observedStreams,
  send,
  spanOf,
  stepsIn,
} from "./measured.ts";
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
  /** Step times as profiled. */
  readonly cost: ProfileCost;
  /** The loads that the speed is taken from, before and after; null = it is not taken. */
  readonly anchor: { readonly before: RequestTable; readonly after: RequestTable } | null;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number, note: string) => void;
}

/** What the machine did during a stage. */
export interface StageMachine extends MachineWatch {
  /** Speed right before the load and right after it; null where it was not taken, others disturbed it or too few steps ran. */
  readonly before: StepSpeed | null;
  readonly after: StepSpeed | null;
}

/** Seconds of the first load during which a new server is still getting faster. */
const WARM_UP_SECONDS = 2;

/** A load as its client saw it, and what the machine did meanwhile. */
interface Sent {
  readonly client: ClientRun;
  readonly watch: MachineWatch;
}

export interface Stage {
  readonly run: MeasuredRun;
  readonly machine: StageMachine;
}

/** Runs it; the engine's logs and what clients saw are kept in the folder. Rejects with ENGINE_FAILED, INTERRUPTED. */
export async function runStage(options: StageOptions): Promise<Stage> {
  const { folder, signal, anchor, cost } = options;
  mkdirSync(folder, { recursive: true });
  const decisions = join(folder, "decisions.jsonl");
  const timings = join(folder, "timings.jsonl");
  const logs = ["--port", "0", "--decision-log", decisions, "--timing-log", timings];
  const quiet = ["--set", "logs.requests=false"];
  options.onProgress(0, options.requests.count, "starting the server");
  const server = await startServer([...options.serve, ...logs, ...quiet], signal);
  const sendTable = async (requests: RequestTable, seed: string): Promise<Sent> => {
    const stopWatch = watchMachine();
    const client = await send({
      url: server.url,
      model: options.modelName,
      modelPath: options.modelPath,
      requests,
      seed,
      signal,
      onProgress:
        requests === options.requests
          ? options.onProgress
          : () => options.onProgress(0, options.requests.count, "how fast is the machine now?"),
    });
    return { client, watch: stopWatch() };
  };
  let load: Sent;
  let before: Sent | null;
  let after: Sent | null;
  try {
    before = anchor === null ? null : await sendTable(anchor.before, "calibrate/anchor");
    load = await sendTable(options.requests, options.seed);
    after = anchor === null ? null : await sendTable(anchor.after, "calibrate/anchor");
  } finally {
    await server.stop();
  }
  const lines = parseDecisions(readTextFile(decisions), decisions);
  const steps = parseStepTimings(readTextFile(timings), timings);
  const speed = (of: Sent | null, warmUp: number): StepSpeed | null => {
    if (of === null || disturbed(of.watch)) return null;
    const { from, to } = spanOf(of.client, lines[0] as DecisionHead);
    return stepSpeed(cost, stepsIn(steps, { from: from + warmUp, to }));
  };
  const run = joinRun(load.client, lines, steps, cost);
  const streams = join(folder, "streams.jsonl");
  writeFileAtomic(
    streams,
    observedStreams(run)
      .map((one) => `${JSON.stringify(one)}\n`)
      .join(""),
  );
  return {
    run,
    machine: { ...load.watch, before: speed(before, WARM_UP_SECONDS), after: speed(after, 0) },
  };
}

/** Flags by their camel-case names as words of a command line. */
export function wordsOf(flags: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === true) return [flag];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => [flag, String(one)]);
  });
}
