/** `millrace simulate`: one deployment against a load. */
import { formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { findDevice, type ModelSpec, type SimulationSummary } from "@millrace/sim";
import {
  kvGeometryOf,
  type RunInput,
  resolveSimulation,
  runSchema,
  runWarnings,
} from "@millrace/sim/config";
import { readPredictorSource } from "@millrace/sim/node";
import { commandLine } from "../command-line.ts";
import { openModel, pathBeside } from "../references.ts";
import type { Session } from "../session.ts";
import { readConfiguration } from "../simulation/configuration.ts";
import { measure } from "../simulation/measure.ts";
import { drawRequests, longestRequest, type Requests, readTrace } from "../simulation/requests.ts";
import { writeResults } from "../simulation/results.ts";
import { summaryLines } from "../ui/summary.ts";

interface SimulateFlags {
  readonly config?: string;
  readonly trace?: string;
  readonly set?: readonly string[];
  readonly out?: string;
  readonly report?: string;
  readonly chromeTrace?: string;
  readonly repeat?: number;
  readonly replay?: string;
  readonly timingLog?: string;
  readonly profile?: string;
}

/** Flags that are short for --set. */
const shortcuts = {
  model: "model",
  device: "device",
  tp: "tensorParallel",
  pp: "pipelineParallel",
  replicas: "replicas",
  scheduler: "scheduler.type",
  kv: "kv.type",
  shape: "workload.shape",
  qps: "workload.qps",
  requests: "workload.requests",
  seed: "seed",
} as const;

export async function simulateCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as SimulateFlags;
  if (flags.replay !== undefined) {
    const { replayCommand } = await import("./replay.ts");
    return replayCommand(session, { ...flags, replay: flags.replay });
  }
  const set = [
    ...Object.entries(shortcuts).flatMap(([flag, path]) =>
      given[flag] === undefined ? [] : [`${path}=${String(given[flag])}`],
    ),
    ...(flags.set ?? []),
  ];
  const configuration = readConfiguration(flags.config, runSchema, set, "run");
  const { value: input, file, locate } = configuration;
  for (const { key, message } of runWarnings(input)) session.warn(`${key}: ${message}`);
  const filePath = pathBeside(file);
  const context = {
    findModel: (ref: string) => openModel(ref, filePath),
    findDevice,
    locate,
    filePath,
    longestRequest: null,
  };
  const { model } = resolveSimulation(input, context);
  const requests = requestsOf(flags, input, model, filePath);
  const longest = longestRequest(requests.table);
  const config = resolveSimulation(input, { ...context, longestRequest: longest });
  const { geometry, memory } = kvGeometryOf(config);
  session.detail(
    `KV cache per replica: ${geometry.blocks} blocks of ${geometry.blockTokens} tokens; weights ${formatNumber(memory.weightsBytes / 1e9)} GB per device`,
  );
  const source = await readPredictorSource(config.predictor, config.device.name);
  const wanted = compact({ out: flags.out, report: flags.report, chromeTrace: flags.chromeTrace });
  const progress = session.progress();
  const { count, arrivedAt } = requests.table;
  let arrived = 0;
  const { result, coreCpuMs } = measure({
    config,
    requests: requests.table,
    geometry,
    source,
    timeline: Object.keys(wanted).length > 0,
    repeat: flags.repeat ?? null,
    ...(flags.repeat === undefined
      ? {
          stop: (now) => {
            while (arrived < count && (arrivedAt[arrived] ?? 0) <= now) arrived++;
            const note = `${formatSeconds(now)} simulated`;
            progress.update({ phase: "simulating", done: arrived, total: count, note });
            return false;
          },
        }
      : {}),
  });
  progress.end();
  const summary = { ...result.summary, coreCpuMs };
  const written = await writeResults(wanted, result, summary, {
    command: commandLine(),
    configText: configuration.text,
    workload: requests.description,
  });
  if (session.json) session.printJson(summary);
  else {
    const { width, paint } = session;
    session.print(summaryLines(result, { width, paint, workload: requests.description }));
    if (flags.repeat !== undefined) session.print(`\n  ${cpuText(flags.repeat, coreCpuMs)}`);
    if (written.length > 0) session.note(`\nwrote ${written.join(", ")}`);
    else session.note("\n--out DIR keeps every request, a timeline and an HTML report");
  }
  throwIfBreached(result.summary);
  return 0;
}

function requestsOf(
  { trace }: SimulateFlags,
  { workload, seed }: RunInput,
  model: ModelSpec,
  filePath: (path: string) => string,
): Requests {
  if (trace !== undefined) return readTrace(trace);
  if (workload !== undefined) return drawRequests(workload, seed, model, filePath);
  throw new MillraceError("CONFIG_INVALID", "nothing says which requests are to be served", {
    hint: "add workload: to the file, e.g. { shape: azure-conv-2023, qps: 4 }, or replay a file with --trace requests.csv",
  });
}

/** The failed terms as the failure that they are: the result is printed already. */
function throwIfBreached(summary: SimulationSummary): void {
  const breached = summary.slo.filter((check) => !check.met);
  if (breached.length === 0) return;
  const terms = breached.map((check) => {
    const share = check.term.toLowerCase().includes("fluidity");
    const show = share ? formatNumber : formatSeconds;
    return `${check.term} is ${show(check.value)}, ${share ? "below" : "above"} ${show(check.limit)}`;
  });
  throw new MillraceError("SLO_BREACHED", terms.join("; "), {
    hint: "more replicas, another scheduler or a smaller chunkSize may help; millrace plan searches for what does",
  });
}

function cpuText(repeat: number, { cold, warm }: { cold: number; warm: number | null }): string {
  const rest = warm === null ? "" : `, ${formatSeconds(warm / 1000)} median of ${repeat - 1} more`;
  return `CPU of the loop: ${formatSeconds(cold / 1000)} first run${rest}`;
}

/** Without the keys whose value is undefined. */
function compact<T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
