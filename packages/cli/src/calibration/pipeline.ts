/** The loop itself: profile, learn the serving loop, plan, serve, measure, compare. Each step is told while it goes on. */
import { join } from "node:path";
import { InvariantError } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { measureGrid, openProfiled, type Profiled, profileGrid } from "@millrace/engine/profile";
import {
  fitLoop,
  fitTransport,
  ProfileCost,
  parseStepProfile,
  type RequestTable,
  type StepProfile,
  stepResiduals,
} from "@millrace/serving";
import {
  clientView,
  compareRuns,
  runTwin,
  type SplitRequest,
  splitOf,
  type TwinRun,
  type TwinSettings,
  type TwinSlo,
} from "@millrace/sim/twin";
import { type OpenedConfig, readServeConfig } from "../engine/serve-config.ts";
import { stepProfile } from "../engine/step-profile.ts";
import type { Session } from "../session.ts";
import {
  describeKnobs,
  type JudgedKnobs,
  judgeKnobs,
  type Knobs,
  serveFlags,
  twinOf,
} from "./candidates.ts";
import { promptOverhead, transportSamples } from "./measured.ts";
import type { CalibrateOptions } from "./options.ts";
import { type CalibratedRun, type CalibrateResult, summarizeFigures } from "./result.ts";
import { runStage, type Stage, wordsOf } from "./stage.ts";
import { probeWorkload, userWorkload, usualSlo, withOverhead } from "./workloads.ts";

/** Seconds after which no further round of the grid begins, and requests that settings are judged by. */
const QUICK = { gridSeconds: 14, planRequests: 300 };
const FULL = { gridSeconds: 300, planRequests: 1000 };
/** A run in which others took more of the machine than this is no measurement of ours (cores). */
const FOREIGN_CORES = 0.05;
/** So is one before and after which the machine was not equally fast. */
const DRIFT = 0.05;

/** Settings that the serving loop is learnt with. */
const PROBE_KNOBS: Knobs = {
  scheduler: "sarathi-serve",
  chunkSize: 128,
  batchSizeCap: 32,
  pageBytes: null,
};

/** A profile with what the load on a real server taught. */
export interface Learnt {
  readonly profile: StepProfile;
  /** Tokens that the server adds to each prompt. */
  readonly overheadTokens: number;
  readonly profiled: Profiled;
  readonly config: OpenedConfig;
}

/** What runs of one calibration share. */
export interface CalibrationContext {
  readonly session: Session;
  readonly options: CalibrateOptions;
  readonly signal: AbortSignal;
}

/** Profiles the model (or reads the profile) and learns the serving loop from a load; the caller disposes `profiled`. */
export async function learn(context: CalibrationContext): Promise<Learnt> {
  const { session, options } = context;
  const config = readServeConfig(serveFlags(PROBE_KNOBS, options));
  const progress = session.progress();
  const profiled = await openProfiled(config.engine, (phase) =>
    progress.update({ phase, done: 0, total: 0 }),
  );
  try {
    const measured =
      options.profile === null
        ? await measureProfile(context, profiled, config)
        : parseStepProfile(readTextFile(options.profile), options.profile);
    const settings = twinOf(config.engine, profiled.executor.kv, config.card.contextTokens);
    const stage = await runStage({
      ...stageParts(context, PROBE_KNOBS, config, profiled),
      folder: join(options.out, "learn"),
      requests: probeWorkload(measured, settings, options.learnSeconds),
      seed: "calibrate/probe",
      cost: new ProfileCost(measured),
      onProgress: (done, total, note) =>
        progress.update({ phase: "learning the serving loop", done, total, note }),
    });
    const profile: StepProfile = {
      ...measured,
      loop: fitLoop(measured, stage.run.steps),
      transport: fitTransport(transportSamples(stage.run)),
    };
    progress.end();
    return { profile, overheadTokens: promptOverhead(stage.run), profiled, config };
  } catch (error) {
    profiled[Symbol.dispose]();
    throw error;
  }
}

async function measureProfile(
  { session, options, signal }: CalibrationContext,
  profiled: Profiled,
  config: OpenedConfig,
): Promise<StepProfile> {
  const progress = session.progress();
  const grid = profileGrid(profiled.limits, options.quick);
  const points = await measureGrid(profiled.executor, grid, {
    rounds: options.quick ? 5 : 7,
    budgetSeconds: (options.quick ? QUICK : FULL).gridSeconds,
    seed: options.seed,
    now: () => performance.now() / 1000,
    provide: profiled.provide,
    signal,
    onProgress: (done, total) =>
      progress.update({ phase: "profiling", done, total, note: `${grid.length} batches` }),
  });
  progress.end();
  return stepProfile(config, profiled, points);
}

function stageParts(
  { options, signal }: CalibrationContext,
  knobs: Knobs,
  config: OpenedConfig,
  profiled: Profiled,
) {
  return {
    serve: wordsOf(serveFlags(knobs, options)),
    modelPath: config.engine.modelPath,
    modelName: config.card.name,
    profiled,
    signal,
  };
}

/** The whole loop. */
export async function calibrate(context: CalibrationContext): Promise<CalibrateResult> {
  const { options, session } = context;
  const learnt = await learn(context);
  using _profiled = learnt.profiled;
  const { profile, config } = learnt;
  const profileFile = join(options.out, "profile.json");
  writeFileAtomic(profileFile, `${JSON.stringify(profile, null, 1)}\n`);
  const longest = twinOf(
    config.engine,
    learnt.profiled.executor.kv,
    config.card.contextTokens,
  ).maxRequestTokens;
  const most = Math.max(2, longest - learnt.overheadTokens);
  const sample = withOverhead(
    userWorkload(
      options.lengths,
      (options.quick ? QUICK : FULL).planRequests,
      1,
      options.seed + 1,
      most,
    ),
    learnt.overheadTokens,
  );
  const slo = options.slo ?? usualSlo(profile, sample);
  const candidates = plan(context, learnt, sample, slo);
  const winner = candidates[0] as JudgedKnobs;
  const rateQps = options.rate ?? options.load * winner.qps;
  if (!(rateQps > 0))
    throw new InvariantError("no setting keeps the promises at any rate; lower them with --slo");
  const requests = userWorkload(options.lengths, options.requests, rateQps, options.seed, most);
  const runs: CalibratedRun[] = [];
  for (let repeat = 0; repeat < options.repeats; repeat++)
    runs.push(await measureAndCompare(context, learnt, winner.knobs, requests, slo, repeat));
  session.progress().end();
  const cost = new ProfileCost(profile);
  return {
    schema: "millrace.calibrate/1",
    model: config.card.name,
    machine: profile.machine,
    threads: profile.threads,
    date: profile.date,
    seed: options.seed,
    profile: {
      file: profileFile,
      points: profile.points.length,
      heldOut: cost.heldOut,
      loop: profile.loop,
      transport: profile.transport,
    },
    workload: describeLengths(options),
    requests: requests.count,
    rateQps,
    load: rateQps / winner.qps,
    slo,
    candidates,
    winner: winner.knobs,
    serve: ["millrace serve", ...wordsOf(serveFlags(winner.knobs, options))].join(" "),
    figures: summarizeFigures(runs),
    runs,
    stepBias: stepBias(runs),
    decisionsEqual: runs.every((run) => run.replay.difference === null),
    doubts: doubtsOf(runs, profile),
  };
}

function plan(
  { session, options }: CalibrationContext,
  learnt: Learnt,
  requests: RequestTable,
  slo: readonly TwinSlo[],
): readonly JudgedKnobs[] {
  const progress = session.progress();
  const judged = judgeKnobs(options, {
    profile: learnt.profile,
    geometry: learnt.profiled.executor.kv,
    requests,
    slo,
    onProgress: (done, total, best) =>
      progress.update({
        phase: "planning",
        done,
        total,
        ...(best === null ? {} : { best: describeKnobs(best.knobs) }),
      }),
  });
  progress.end();
  return judged;
}

/** Predicts, measures, compares. */
export async function measureAndCompare(
  context: CalibrationContext,
  learnt: Learnt,
  knobs: Knobs,
  requests: RequestTable,
  slo: readonly TwinSlo[],
  repeat: number,
): Promise<CalibratedRun> {
  const { session, options } = context;
  const { profile } = learnt;
  const config = readServeConfig(serveFlags(knobs, options));
  const settings = twinOf(config.engine, learnt.profiled.executor.kv, config.card.contextTokens);
  const cost = new ProfileCost(profile);
  const { transport } = profile;
  const asServed = withOverhead(requests, learnt.overheadTokens);
  // The prediction stands before the first request is sent.
  const twin = runTwin(settings, asServed, { cost, transport });
  const progress = session.progress();
  const stage = await runStage({
    ...stageParts(context, knobs, config, learnt.profiled),
    folder: join(options.out, `run-${repeat + 1}`),
    requests,
    seed: `${options.seed}/${repeat}`,
    cost,
    onProgress: (done, total, note) =>
      progress.update({ phase: `measuring ${repeat + 1}/${options.repeats}`, done, total, note }),
  });
  progress.end();
  checkTwin(settings, stage);
  const predicted = clientView(twin, asServed, transport);
  const { run } = stage;
  const limit = (metric: TwinSlo["metric"], otherwise: number): number =>
    slo.find((term) => term.metric === metric)?.limitSeconds ?? otherwise;
  const comparison = compareRuns(
    predicted,
    run.requests.map((request) => request.client),
    { predicted: replicaFigures(twin), measured: replicaFigures(run.engine) },
    { ttftSeconds: limit("ttft", 2), tbtSeconds: limit("tbt", 0.1) },
  );
  return {
    ...comparison,
    machine: stage.machine,
    replay: run.engine.replay,
    split: {
      predicted: splitOf(
        twin.byRow.flatMap((replica, i): SplitRequest[] =>
          replica === null ? [] : [{ client: predicted[i] as SplitRequest["client"], replica }],
        ),
      ),
      measured: splitOf(
        run.requests.flatMap(({ client, replica }): SplitRequest[] =>
          replica === null ? [] : [{ client, replica }],
        ),
      ),
    },
    residuals: stepResiduals(cost, run.steps),
    failed: run.failed,
    startLateness: run.startLateness,
  };
}

/** The engine must be the one that was predicted. */
function checkTwin(settings: TwinSettings, { run }: Stage): void {
  const { kv, maxRequestTokens, maxWaiting } = run.engine.head;
  const planned = JSON.stringify([settings.kv, settings.maxRequestTokens, settings.maxWaiting]);
  const real = JSON.stringify([kv, maxRequestTokens, maxWaiting]);
  if (planned !== real)
    throw new InvariantError(`the engine was made otherwise than planned: ${real}, not ${planned}`);
}

function replicaFigures(run: Pick<TwinRun, "kv" | "preemptions" | "steps">) {
  return {
    kvPeakPages: run.kv.peakPages,
    kvMeanPages: run.kv.meanPages,
    preemptions: run.preemptions,
    steps: run.steps,
  };
}

/** Bias of the sum of all steps of all runs, each run weighted alike. */
function stepBias(runs: readonly CalibratedRun[]): number {
  const all = runs.map((run) => run.residuals.find(({ by }) => by === "all")?.bias ?? Number.NaN);
  return all.reduce((sum, bias) => sum + bias, 0) / all.length;
}

function doubtsOf(runs: readonly CalibratedRun[], profile: StepProfile): readonly string[] {
  const doubts: string[] = [];
  if (profile.loop === null)
    doubts.push("the load to learn from was too short for the serving loop");
  runs.forEach(({ machine, failed, replay }, i) => {
    const { foreignCores, stolenCores, drift } = machine;
    if (foreignCores !== null && foreignCores > FOREIGN_CORES)
      doubts.push(`run ${i + 1}: other programs kept ${foreignCores.toFixed(2)} cores busy`);
    if (stolenCores !== null && stolenCores > FOREIGN_CORES)
      doubts.push(`run ${i + 1}: the hypervisor took ${stolenCores.toFixed(2)} cores`);
    if (Math.abs(drift - 1) > DRIFT)
      doubts.push(
        `run ${i + 1}: reference batches took ${(100 * (drift - 1)).toFixed(1)} % longer after it than before`,
      );
    if (failed > 0) doubts.push(`run ${i + 1}: ${failed} requests failed`);
    if (replay.difference !== null)
      doubts.push(`run ${i + 1}: step ${replay.difference.ticket} was decided differently`);
  });
  return doubts;
}

function describeLengths({ lengths }: CalibrateOptions): string {
  switch (lengths.type) {
    case "range":
      return `prompts of ${lengths.prompt.min} to ${lengths.prompt.max} tokens, answers of ${lengths.output.min} to ${lengths.output.max}`;
    case "fixed":
      return `prompts of ${lengths.prompt} tokens, answers of ${lengths.output}`;
    case "shape":
      return lengths.name;
    default:
      return `${lengths.type} lengths`;
  }
}
