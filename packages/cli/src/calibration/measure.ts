/** Loads on the real server beside their predictions. */
import { join } from "node:path";
import { InvariantError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import {
  atSpeed,
  meanSpeed,
  ProfileCost,
  type RequestTable,
  type ServedRun,
  type StepProfile,
  type StepSpeed,
  stepResiduals,
} from "@millrace/serving";
import {
  compareRuns,
  type PredictedRun,
  predictRun,
  type SplitRequest,
  splitOf,
  type TwinCost,
  type TwinSettings,
  type TwinSlo,
} from "@millrace/sim/twin";
import { readServeConfig } from "../engine/serve-config.ts";
import { type Knobs, serveFlags, twinOf } from "./candidates.ts";
import { type MeasuredRun, observedStreams } from "./measured.ts";
import type { CalibrationContext, Learnt } from "./pipeline.ts";
import type { CalibratedRun } from "./result.ts";
import {
  anchorSeconds,
  runOf,
  type Sent,
  Stage,
  speedOf,
  warmUpSeconds,
  wordsOf,
} from "./stage.ts";
import { stepParts } from "./step-parts.ts";
import { anchorLoad, anchorWorkload, warmUpWorkload, withOverhead } from "./workloads.ts";

/** Times that a prediction is drawn: near capacity the figures of single draws differ by a tenth and more. */
const DRAWS = 21;

/** A load to predict and to measure. */
export interface Load {
  readonly requests: RequestTable;
  /** Of the prompts' words and of the draws. */
  readonly seed: string;
  /** For the progress line. */
  readonly phase: string;
  /** File beside the engine's logs for the streams as clients saw them. */
  readonly streams: string;
}

/** A served model, ready for loads: how it is made, and the load that tells the machine's speed. */
export interface Served {
  readonly stage: Stage;
  readonly settings: TwinSettings;
  readonly profile: StepProfile;
  /** Sends the load that the speed of the machine is taken from, as heavy as `anchorLoad` says of some requests. */
  readonly anchor: (load: number) => Promise<Sent>;
  readonly send: (load: Pick<Load, "requests" | "seed" | "phase">) => Promise<Sent>;
}

/** Starts the server of a setting. Its first seconds, in which it is still getting faster, are spent when this resolves. */
export async function serveKnobs(
  { session, options, signal }: CalibrationContext,
  { profile, geometry }: Learnt,
  knobs: Knobs,
  folder: string,
): Promise<Served> {
  const flags = serveFlags(knobs, options.engine);
  const { engine, card } = readServeConfig(flags);
  const settings = twinOf(engine, geometry, card.contextTokens);
  const progress = session.progress();
  progress.update({ phase: "starting the server", done: 0, total: 0 });
  const { modelPath } = engine;
  const words = wordsOf(flags);
  const stage = await Stage.open({
    serve: words,
    modelPath,
    modelName: card.name,
    folder,
    signal,
  });
  const own = (requests: RequestTable, seed: string, phase: string): Promise<Sent> =>
    stage.send(requests, seed, (done, total) => progress.update({ phase, done, total }));
  try {
    await own(
      warmUpWorkload(profile, settings, warmUpSeconds(options.learnSeconds)),
      "calibrate/warm-up",
      "warming the server up",
    );
  } catch (error) {
    await stage[Symbol.asyncDispose]();
    throw error;
  }
  return {
    stage,
    settings,
    profile,
    anchor: (load) =>
      own(
        anchorWorkload(profile, settings, anchorSeconds(load, options.learnSeconds), load),
        "calibrate/anchor",
        "how fast is the machine now?",
      ),
    send: ({ requests, seed, phase }) =>
      stage.send(requests, seed, (done, total, note) =>
        progress.update({ phase, done, total, note }),
      ),
  };
}

/**
 * Predicts, measures, compares, load by load on one server. What is predicted rests on the profile and on how fast steps of
 * another load were right before and right after each; nothing of the measured loads goes into it.
 */
export async function measureAndCompare(
  context: CalibrationContext,
  learnt: Learnt,
  knobs: Knobs,
  loads: readonly Load[],
  slo: readonly TwinSlo[],
  folder: string,
): Promise<readonly CalibratedRun[]> {
  const served = await serveKnobs(context, learnt, knobs, folder);
  await using stage = served.stage;
  const sent: { readonly before: Sent; readonly load: Sent; readonly after: Sent }[] = [];
  let last = { share: 0, anchor: null as Sent | null };
  for (const load of loads) {
    const share = anchorLoad(served.profile, served.settings, load.requests);
    // What came after one load is what came before the next, where they are equally heavy.
    const before =
      last.anchor !== null && last.share === share ? last.anchor : await served.anchor(share);
    const own = await served.send(load);
    const after = await served.anchor(share);
    sent.push({ before, load: own, after });
    last = { share, anchor: after };
  }
  context.session.progress().end();
  const logs = await stage.close();
  const cost = new ProfileCost(learnt.profile);
  return loads.map((load, i) => {
    const { before, load: one, after } = sent[i] as (typeof sent)[number];
    const run = runOf(one, logs, cost);
    const streams = observedStreams(run).map((stream) => `${JSON.stringify(stream)}\n`);
    writeFileAtomic(join(folder, load.streams), streams.join(""));
    const around = { before: speedOf(before, logs, cost), after: speedOf(after, logs, cost) };
    return compared(served, load, run, slo, { ...one.watch, ...around });
  });
}

/** What a twin predicts with, at the speed of the moment. */
export function twinCostAt(
  profile: StepProfile,
  speed: StepSpeed | null,
): TwinCost & { readonly cost: ProfileCost } {
  const now = speed === null ? profile : atSpeed(profile, speed);
  return {
    cost: new ProfileCost(now),
    transport: profile.transport,
    jitter: profile.loop?.jitter ?? null,
  };
}

function compared(
  { settings, profile }: Served,
  { requests, seed }: Load,
  run: MeasuredRun,
  slo: readonly TwinSlo[],
  machine: CalibratedRun["machine"],
): CalibratedRun {
  checkTwin(settings, run);
  const now = twinCostAt(profile, meanSpeed([machine.before, machine.after]));
  const asServed = withOverhead(requests, profile.transport?.addedTokens ?? 0);
  const draws = Array.from({ length: DRAWS }, (_, i) =>
    predictRun(settings, asServed, now, `${seed}/draw/${i}`),
  );
  const limit = (metric: TwinSlo["metric"], otherwise: number): number =>
    slo.find((term) => term.metric === metric)?.limitSeconds ?? otherwise;
  const comparison = compareRuns(
    draws.map(({ twin, clients }) => ({ clients, replica: replicaFigures(twin) })),
    {
      clients: run.requests.map((request) => request.client),
      replica: replicaFigures(run.engine),
    },
    { ttftSeconds: limit("ttft", 2), tbtSeconds: limit("tbt", 0.1) },
  );
  const asProfiled = new ProfileCost(profile);
  const residuals = stepResiduals(now.cost, run.steps);
  const biasOf = (groups: typeof residuals): number =>
    groups.find(({ by }) => by === "all")?.bias ?? Number.NaN;
  return {
    ...comparison,
    machine,
    replay: run.engine.replay,
    split: {
      predicted: splitOf(draws.flatMap(splitRequests)),
      measured: splitOf(
        run.requests.flatMap(({ client, replica }): SplitRequest[] =>
          replica === null ? [] : [{ client, replica }],
        ),
      ),
    },
    residuals,
    stepBias: { now: biasOf(residuals), asProfiled: biasOf(stepResiduals(asProfiled, run.steps)) },
    stepParts: stepParts(now.cost, run.steps),
    failed: run.failed,
    unlogged: run.requests.filter(
      ({ client, replica }) => client.tokenAt.length > 0 && replica === null,
    ).length,
    startLateness: run.startLateness,
  };
}

function splitRequests({ twin, clients }: PredictedRun): readonly SplitRequest[] {
  return twin.byRow.flatMap((replica, i) =>
    replica === null ? [] : [{ client: clients[i] as SplitRequest["client"], replica }],
  );
}

/** The engine must be the one that was predicted. */
function checkTwin(settings: TwinSettings, { engine }: MeasuredRun): void {
  const { kv, maxRequestTokens, maxWaiting } = engine.head;
  const planned = JSON.stringify([settings.kv, settings.maxRequestTokens, settings.maxWaiting]);
  const real = JSON.stringify([kv, maxRequestTokens, maxWaiting]);
  if (planned !== real)
    throw new InvariantError(`the engine was made otherwise than planned: ${real}, not ${planned}`);
}

function replicaFigures({
  kv,
  preemptions,
  steps,
}: Pick<ServedRun, "kv" | "preemptions" | "steps">) {
  return { kvPeakPages: kv.peakPages, kvMeanPages: kv.meanPages, preemptions, steps };
}
