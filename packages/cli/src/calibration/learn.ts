/** What a step costs here: the grid of batches through the executor, then a load on a real server for what serving adds. */
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import type { KvGeometry } from "@millrace/engine";
import { measureGrid, openProfiled, type Profiled, profileGrid } from "@millrace/engine/profile";
import { fitLoop, fitTransport, ProfileCost, type StepProfile } from "@millrace/serving";
import type { TwinSettings } from "@millrace/sim/twin";
import { type OpenedConfig, readServeConfig } from "../engine/serve-config.ts";
import { stepProfile } from "../engine/step-profile.ts";
import type { Session } from "../session.ts";
import { type Knobs, serveFlags, twinOf, usualKnobs } from "./candidates.ts";
import { disturbed, takenCores, watchMachine } from "./machine.ts";
import { transportSamples } from "./measured.ts";
import { runOf, type Sent, Stage, warmUpSeconds, wordsOf } from "./stage.ts";
import { probeWorkload, warmUpWorkload } from "./workloads.ts";

/** Settings that the serving loop is learnt with. */
export const LEARN_KNOBS: Knobs = usualKnobs("sarathi-serve");

export interface GridChoice {
  readonly quick: boolean;
  readonly rounds: number;
  /** Seconds after which no further round of the grid begins. */
  readonly budgetSeconds: number;
  readonly seed: number;
}

/** A model that was measured or is to be: how it is opened, and the shape of its KV cache. */
export interface OpenedModel {
  readonly config: OpenedConfig;
  readonly geometry: KvGeometry;
}

/** Runs the grid. */
export async function measureProfile(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
  grid: GridChoice,
  signal: AbortSignal,
): Promise<OpenedModel & { readonly profile: StepProfile }> {
  const config = readServeConfig(flags);
  const progress = session.progress();
  using profiled = await opened(session, config);
  const batches = profileGrid(profiled.limits, grid.quick);
  const stopWatch = watchMachine();
  const points = await measureGrid(profiled.executor, batches, {
    ...grid,
    now: () => performance.now() / 1000,
    provide: profiled.provide,
    signal,
    onProgress: (done, total) =>
      progress.update({ phase: "profiling", done, total, note: `${batches.length} batches` }),
  });
  progress.end();
  return {
    config,
    geometry: profiled.executor.kv,
    profile: {
      ...stepProfile(config, profiled, points),
      foreignCores: takenCores(stopWatch()),
    },
  };
}

/** Opens a model for the shape of its KV cache alone. */
export async function openModel(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<OpenedModel> {
  const config = readServeConfig(flags);
  using profiled = await opened(session, config);
  return { config, geometry: profiled.executor.kv };
}

async function opened(session: Session, config: OpenedConfig): Promise<Profiled> {
  const progress = session.progress();
  const profiled = await openProfiled(config.engine, (phase) =>
    progress.update({ phase, done: 0, total: 0 }),
  );
  progress.end();
  return profiled;
}

/**
 * Sends a load to `millrace serve` and returns the profile with what its loop and its transport add. A load that others
 * disturbed is sent once more, and the one counts that they disturbed less.
 */
export async function learnLoop(
  session: Session,
  profile: StepProfile,
  model: OpenedModel,
  options: {
    readonly engine: Readonly<Record<string, unknown>>;
    readonly seconds: number;
    /** For the engine's logs. */
    readonly folder: string;
    readonly signal: AbortSignal;
  },
): Promise<StepProfile> {
  const progress = session.progress();
  progress.update({ phase: "starting the server", done: 0, total: 0 });
  const flags = serveFlags(LEARN_KNOBS, options.engine);
  const { engine, card } = readServeConfig(flags);
  const settings: TwinSettings = twinOf(engine, model.geometry, card.contextTokens);
  await using stage = await Stage.open({
    serve: wordsOf(flags),
    modelPath: engine.modelPath,
    modelName: card.name,
    folder: join(options.folder, "learn"),
    signal: options.signal,
  });
  const telling =
    (phase: string) =>
    (done: number, total: number, note: string): void =>
      progress.update({ phase, done, total, note });
  const warmUp = warmUpWorkload(profile, settings, warmUpSeconds(options.seconds));
  await stage.send(warmUp, "calibrate/warm-up", telling("warming the server up"));
  const probe = probeWorkload(profile, settings, options.seconds);
  const learning = (): Promise<Sent> =>
    stage.send(probe, "calibrate/probe", telling("learning the serving loop"));
  let sent = await learning();
  if (disturbed(sent.watch)) {
    progress.end();
    const cores = takenCores(sent.watch).toFixed(2);
    session.note(`others kept ${cores} cores busy meanwhile: the serving loop is learnt once more`);
    const again = await learning();
    if (takenCores(again.watch) < takenCores(sent.watch)) sent = again;
  }
  const run = runOf(sent, await stage.close(), new ProfileCost(profile));
  progress.end();
  if (run.steps.length === 0)
    throw new MillraceError(
      "ENGINE_FAILED",
      `the engine's logs in ${join(options.folder, "learn")} hold no step of the load that was sent`,
      { hint: "make room there, or choose another folder with --out" },
    );
  return {
    ...profile,
    foreignCores: Math.max(profile.foreignCores ?? 0, takenCores(sent.watch)),
    loop: fitLoop(profile, run.steps),
    transport: fitTransport(transportSamples(run)),
  };
}
