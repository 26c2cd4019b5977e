/** One load on the real server beside its prediction. */
import { InvariantError } from "@millrace/core";
import {
  atSpeed,
  ProfileCost,
  type RequestTable,
  type ServedRun,
  speedBetween,
  stepResiduals,
} from "@millrace/serving";
import {
  compareRuns,
  type PredictedRun,
  predictRun,
  type SplitRequest,
  splitOf,
  type TwinSettings,
  type TwinSlo,
} from "@millrace/sim/twin";
import { readServeConfig } from "../engine/serve-config.ts";
import { type Knobs, serveFlags, twinOf } from "./candidates.ts";
import type { CalibrationContext, Learnt } from "./pipeline.ts";
import type { CalibratedRun } from "./result.ts";
import { runStage, type Stage, wordsOf } from "./stage.ts";
import { anchorWorkload, withOverhead } from "./workloads.ts";

/** Times that a prediction is drawn: near capacity the figures of single draws differ by a tenth and more. */
const DRAWS = 21;
/** Seconds of the loads that the speed of the machine is taken from, before and after. */
const ANCHOR_SECONDS = { before: 5, after: 3 };

export interface RunPlace {
  /** For the engine's logs. */
  readonly folder: string;
  /** Of the prompts' words and of the draws. */
  readonly seed: string;
  /** For the progress line. */
  readonly phase: string;
}

/**
 * Predicts, measures, compares. What is predicted rests on the profile and on how fast steps of another load were right
 * before and right after; nothing of the measured load goes into it.
 */
export async function measureAndCompare(
  { session, options, signal }: CalibrationContext,
  { profile, geometry }: Learnt,
  knobs: Knobs,
  requests: RequestTable,
  slo: readonly TwinSlo[],
  place: RunPlace,
): Promise<CalibratedRun> {
  const flags = serveFlags(knobs, options.engine);
  const { engine, card } = readServeConfig(flags);
  const settings = twinOf(engine, geometry, card.contextTokens);
  const { transport } = profile;
  const progress = session.progress();
  const asProfiled = new ProfileCost(profile);
  const stage = await runStage({
    serve: wordsOf(flags),
    modelPath: engine.modelPath,
    modelName: card.name,
    folder: place.folder,
    requests,
    seed: place.seed,
    cost: asProfiled,
    anchor: {
      before: anchorWorkload(profile, settings, ANCHOR_SECONDS.before),
      after: anchorWorkload(profile, settings, ANCHOR_SECONDS.after),
    },
    signal,
    onProgress: (done, total, note) => progress.update({ phase: place.phase, done, total, note }),
  });
  progress.end();
  checkTwin(settings, stage);
  const { run, machine } = stage;
  const speed = speedBetween(machine.before, machine.after);
  const now = speed === null ? profile : atSpeed(profile, speed);
  const cost = new ProfileCost(now);
  const asServed = withOverhead(requests, transport?.addedTokens ?? 0);
  const jitter = profile.loop?.jitter ?? null;
  const draws = Array.from({ length: DRAWS }, (_, i) =>
    predictRun(settings, asServed, { cost, transport, jitter }, `${place.seed}/draw/${i}`),
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
  const residuals = stepResiduals(cost, run.steps);
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
    failed: run.failed,
    startLateness: run.startLateness,
  };
}

function splitRequests({ twin, clients }: PredictedRun): readonly SplitRequest[] {
  return twin.byRow.flatMap((replica, i) =>
    replica === null ? [] : [{ client: clients[i] as SplitRequest["client"], replica }],
  );
}

/** The engine must be the one that was predicted. */
function checkTwin(settings: TwinSettings, { run }: Stage): void {
  const { kv, maxRequestTokens, maxWaiting } = run.engine.head;
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
