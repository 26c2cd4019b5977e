/**
 * A server that loads are sent to one after the other, and what client and engine saw of each. The engine's logs are whole
 * when it has ended, so that runs are read off after the last load.
 */
import { join } from "node:path";
import { makeFolder, readTextFile } from "@millrace/core/node";
import {
  type DecisionHead,
  type DecisionLine,
  type ProfileCost,
  parseDecisions,
  parseStepTimings,
  type RequestTable,
  type StepSpeed,
  type StepTimed,
  stepSpeed,
} from "@millrace/serving";
import { disturbed, type MachineWatch, watchMachine } from "./machine.ts";
import { type ClientRun, joinRun, type MeasuredRun, send, spanOf, stepsIn } from "./measured.ts";
import { type StartedServer, startServer } from "./server.ts";

export interface StageOptions {
  /** Words of `millrace serve`. */
  readonly serve: readonly string[];
  readonly modelPath: string;
  readonly modelName: string;
  /** Folder for the engine's logs; made when it is not there. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** What the machine did during a load, and right before and after it. */
export interface StageMachine extends MachineWatch {
  /** Speed right before the load and right after it; null where it was not taken, others disturbed it or too few steps ran. */
  readonly before: StepSpeed | null;
  readonly after: StepSpeed | null;
}

/** A load as its client saw it, and what the machine did meanwhile. */
export interface Sent {
  readonly client: ClientRun;
  readonly watch: MachineWatch;
}

/** The engine's logs, of all loads. */
export interface StageLogs {
  readonly lines: readonly DecisionLine[];
  readonly steps: readonly StepTimed[];
}

type OnProgress = (done: number, total: number, note: string) => void;

/** A running server. To be closed, or disposed of where its logs are of no use. */
export class Stage implements AsyncDisposable {
  private readonly options: StageOptions;
  private readonly server: StartedServer;

  private constructor(options: StageOptions, server: StartedServer) {
    this.options = options;
    this.server = server;
  }

  /** Starts the server. Rejects with ENGINE_FAILED, INTERRUPTED. */
  static async open(options: StageOptions): Promise<Stage> {
    makeFolder(options.folder);
    const [decisions, timings] = logFiles(options.folder);
    const logs = ["--port", "0", "--decision-log", decisions, "--timing-log", timings];
    const words = [...options.serve, ...logs, "--set", "logs.requests=false"];
    return new Stage(options, await startServer(words, options.signal));
  }

  /** Sends requests at their times; one load after the other. Rejects with INTERRUPTED, ENGINE_FAILED. */
  async send(requests: RequestTable, seed: string, onProgress: OnProgress): Promise<Sent> {
    const { modelName, modelPath, signal } = this.options;
    const stopWatch = watchMachine();
    const client = await send({
      url: this.server.url,
      model: modelName,
      modelPath,
      requests,
      seed,
      signal,
      onProgress,
    });
    this.server.check();
    return { client, watch: stopWatch() };
  }

  /** Stops the server and reads its logs. */
  async close(): Promise<StageLogs> {
    await this.server.stop();
    const [decisions, timings] = logFiles(this.options.folder);
    return {
      lines: parseDecisions(readTextFile(decisions), decisions),
      steps: parseStepTimings(readTextFile(timings), timings),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

function logFiles(folder: string): readonly [string, string] {
  return [join(folder, "decisions.jsonl"), join(folder, "timings.jsonl")];
}

/** A load as both sides saw it. */
export function runOf({ client }: Sent, logs: StageLogs, cost: ProfileCost): MeasuredRun {
  return joinRun(client, logs.lines, logs.steps, cost);
}

/** How fast the steps of a load were against `cost`; null where others disturbed it or there were too few. */
export function speedOf(sent: Sent, logs: StageLogs, cost: ProfileCost): StepSpeed | null {
  if (disturbed(sent.watch)) return null;
  return stepSpeed(cost, stepsIn(logs.steps, spanOf(sent.client, logs.lines[0] as DecisionHead)));
}

/**
 * Seconds of the loads of our own: those in which a new server is still getting faster, by 2 to 5 % (decision 0060), and those
 * that the speed of the machine is taken from before and after a measured load. None is longer than the load to learn from.
 */
const OWN_SECONDS = { warmUp: 30, anchor: 8 };
/** The load from which on an anchor has enough steps in its seconds, and how much longer a lighter one may be. */
const STRETCH = { below: 0.5, most: 2 };

export function warmUpSeconds(learnSeconds: number): number {
  return Math.min(OWN_SECONDS.warmUp, learnSeconds);
}

/** Of an anchor as heavy as `load`: lighter ones last longer, since steps are what counts. */
export function anchorSeconds(load: number, learnSeconds: number): number {
  const stretch = Math.min(STRETCH.most, Math.max(1, STRETCH.below / load));
  return Math.min(OWN_SECONDS.anchor, learnSeconds) * stretch;
}

/** Flags by their camel-case names as words of a command line. */
export function wordsOf(flags: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === true) return [flag];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => [flag, String(one)]);
  });
}
