/** The knobs of `millrace serve` that a plan for one machine turns, and what each setting is predicted to carry. */
import { setImmediate } from "node:timers/promises";
import type { EngineOptions, KvGeometry } from "@millrace/engine";
import { plannedKv } from "@millrace/engine/profile";
import {
  kvOf,
  ProfileCost,
  type RequestTable,
  type SchedulerName,
  SeqTable,
  type StepProfile,
} from "@millrace/serving";
import {
  type TwinCapacity,
  type TwinSettings,
  type TwinSlo,
  twinCapacity,
} from "@millrace/sim/twin";
import { readServeConfig } from "../engine/serve-config.ts";
import type { CalibrateOptions } from "./options.ts";

/** A setting of the knobs. */
export interface Knobs {
  readonly scheduler: SchedulerName;
  /** Prompt tokens of a step; null for schedulers that take whole prompts. */
  readonly chunkSize: number | null;
  readonly batchSizeCap: number;
  /** KV page, bytes; null = the engine's own choice. */
  readonly pageBytes: number | null;
}

export interface JudgedKnobs extends TwinCapacity {
  readonly knobs: Knobs;
}

const chunked: readonly SchedulerName[] = [
  "sarathi-serve",
  "sarathi",
  "simple-chunking",
  "vllm-v1",
];

/** As schedulers are compared: Sarathi-Serve with chunks of 128, the others with whole prompts; up to 32 sequences. */
export function usualKnobs(scheduler: SchedulerName): Knobs {
  return {
    scheduler,
    chunkSize: scheduler === "sarathi-serve" ? 128 : null,
    batchSizeCap: 32,
    pageBytes: null,
  };
}

/** All settings that are tried. */
export function knobGrid({ schedulers, chunks, caps, page }: CalibrateOptions): readonly Knobs[] {
  return schedulers.flatMap((scheduler) =>
    (chunked.includes(scheduler) ? chunks : [null]).flatMap((chunkSize) =>
      caps.map((batchSizeCap) => ({ scheduler, chunkSize, batchSizeCap, pageBytes: page })),
    ),
  );
}

/** The flags of `millrace serve` that stand for the knobs. */
export function serveFlags(
  { scheduler, chunkSize, batchSizeCap, pageBytes }: Knobs,
  engine: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const own = ["model", "config", "set", "device", "threads", "context", "kvMemory"];
  return {
    ...Object.fromEntries(
      own.flatMap((name) => (engine[name] === undefined ? [] : [[name, engine[name]]])),
    ),
    scheduler,
    ...(chunkSize === null ? {} : { chunkSize }),
    batchSizeCap,
    ...(pageBytes === null ? {} : { pageSize: pageBytes }),
  };
}

/** How the engine is made with these knobs, without starting it. */
export function twinOf(
  engine: EngineOptions,
  geometry: KvGeometry,
  modelContext: number,
): TwinSettings {
  const kv = plannedKv(geometry, engine);
  const { capacityTokens } = kvOf(kv, new SeqTable(1));
  const contextTokens = Math.min(
    modelContext,
    engine.contextTokens ?? Number.POSITIVE_INFINITY,
    capacityTokens + 1,
  );
  return {
    scheduler: engine.scheduler,
    kv,
    tableCapacity: engine.scheduler.batchSizeCap + engine.maxWaiting,
    // The last token needs no KV.
    maxRequestTokens: contextTokens - 1,
    maxWaiting: engine.maxWaiting,
  };
}

/** Judges all settings by the rate at which they keep the promises; best first. Rejects with the signal's reason. */
export async function judgeKnobs(
  options: CalibrateOptions,
  parts: {
    readonly profile: StepProfile;
    readonly geometry: KvGeometry;
    readonly requests: RequestTable;
    readonly slo: readonly TwinSlo[];
    readonly signal: AbortSignal;
    readonly onProgress: (done: number, total: number, best: JudgedKnobs | null) => void;
  },
): Promise<readonly JudgedKnobs[]> {
  const cost = new ProfileCost(parts.profile);
  const { transport, loop } = parts.profile;
  const jitter = loop?.jitter ?? null;
  const grid = knobGrid(options);
  const judged: JudgedKnobs[] = [];
  const total = grid.length + options.pages.length;
  const judge = async (knobs: Knobs): Promise<void> => {
    // A setting takes a tenth of a second and more: Ctrl-C and the progress line get their turn in between.
    await setImmediate();
    parts.signal.throwIfAborted();
    const { engine, card } = readServeConfig(serveFlags(knobs, options.engine));
    const settings = twinOf(engine, parts.geometry, card.contextTokens);
    judged.push({
      knobs,
      ...twinCapacity(settings, parts.requests, { cost, transport, jitter }, parts.slo),
    });
    // Stable: of equals the first stays, which is the one with the engine's own page.
    judged.sort((a, b) => b.qps - a.qps);
    parts.onProgress(judged.length, total, judged[0] as JudgedKnobs);
  };
  for (const knobs of grid) await judge(knobs);
  // Pages move no arithmetic: they decide what fits into the KV memory, for whichever setting is best.
  const [{ knobs: best }] = judged as [JudgedKnobs, ...JudgedKnobs[]];
  for (const pageBytes of options.pages) await judge({ ...best, pageBytes });
  return judged;
}

/** `sarathi-serve, chunk 128, 16 sequences`. */
export function describeKnobs({ scheduler, chunkSize, batchSizeCap, pageBytes }: Knobs): string {
  const chunk = chunkSize === null ? "" : `, chunk ${chunkSize}`;
  const page = pageBytes === null ? "" : `, pages of ${pageText(pageBytes)}`;
  return `${scheduler}${chunk}, ${batchSizeCap} sequences${page}`;
}

/** As they are written in flags: powers of two. */
function pageText(bytes: number): string {
  return bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB` : `${bytes / 2 ** 10} KiB`;
}
