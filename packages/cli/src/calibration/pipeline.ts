/** The loop itself: profile, learn the serving loop, plan, serve, measure, compare. Each step is told while it goes on. */
import { join } from "node:path";
import { formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { stepGeometry } from "@millrace/engine/profile";
import {
  ProfileCost,
  parseStepProfile,
  type RequestTable,
  type StepProfile,
  scaleProfile,
} from "@millrace/serving";
import type { TwinSlo } from "@millrace/sim/twin";
import type { Session } from "../session.ts";
import { describeKnobs, type JudgedKnobs, judgeKnobs, serveFlags, twinOf } from "./candidates.ts";
import { checkQuestion } from "./checks.ts";
import { doubtsOf } from "./doubts.ts";
import { LEARN_KNOBS, learnLoop, measureProfile, type OpenedModel, openModel } from "./learn.ts";
import { measureAndCompare } from "./measure.ts";
import type { CalibrateOptions } from "./options.ts";
import { type CalibrateResult, summarizeFigures } from "./result.ts";
import { wordsOf } from "./stage.ts";
import { promised } from "./words.ts";
import { userWorkload, usualSlo, withOverhead } from "./workloads.ts";

/** Seconds after which no further round of the grid begins, and requests that settings are judged by. */
const QUICK = { rounds: 5, budgetSeconds: 14, planRequests: 300 };
const FULL = { rounds: 7, budgetSeconds: 300, planRequests: 1000 };

/** A profile with what the load on a real server taught. */
export interface Learnt extends OpenedModel {
  readonly profile: StepProfile;
}

/** What runs of one calibration share. */
export interface CalibrationContext {
  readonly session: Session;
  readonly options: CalibrateOptions;
  readonly signal: AbortSignal;
}

/** Profiles the model and learns the serving loop from a load, or reads what a profile has of both. */
export async function learn({ session, options, signal }: CalibrationContext): Promise<Learnt> {
  const flags = serveFlags(LEARN_KNOBS, options.engine);
  const { quick, seed } = options;
  const { rounds, budgetSeconds } = quick ? QUICK : FULL;
  const profiled = toldStage(session, 1);
  const { profile, ...model } =
    options.profile === null
      ? await measureProfile(session, flags, { quick, rounds, budgetSeconds, seed }, signal)
      : await known(session, flags, options.profile);
  const file = profileFile(options);
  if (options.profile === null) writeProfile(file, profile);
  profiled(
    options.profile === null ? "profiled" : "profile read",
    `${profile.points.length} kinds of batches`,
  );
  if (profile.loop !== null && profile.transport !== null) return { ...model, profile };
  const told = toldStage(session, 2);
  const learnt = await keeping(
    options.profile ?? file,
    learnLoop(session, profile, model, {
      engine: options.engine,
      seconds: options.learnSeconds,
      folder: options.out,
      signal,
    }),
  );
  told(
    "learnt",
    `what serving adds, from ${formatNumber(learnt.loop?.steps ?? 0)} steps and ${learnt.transport?.requests ?? 0} requests`,
  );
  return { ...model, profile: learnt };
}

function profileFile({ out }: CalibrateOptions): string {
  return join(out, "profile.json");
}

function writeProfile(file: string, profile: StepProfile): void {
  writeFileAtomic(file, `${JSON.stringify(profile, null, 1)}\n`);
}

/** Work after which a profile is there: an interruption says how to go on from it. */
async function keeping<T>(file: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code !== "INTERRUPTED") throw error;
    throw new MillraceError("INTERRUPTED", error.message, {
      hint: `what is profiled is kept: the same command with --profile ${file} goes on from there`,
      cause: error,
    });
  }
}

/** A profile of before; one of another geometry is carried over to the model's. */
async function known(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
  file: string,
): Promise<Learnt> {
  const model = await openModel(session, flags);
  const profile = parseStepProfile(readTextFile(file), file);
  const geometry = stepGeometry(model.config.engine.modelPath);
  const same =
    profile.geometry === null || JSON.stringify(profile.geometry) === JSON.stringify(geometry);
  if (same) return { ...model, profile };
  session.note(`the profile is of ${profile.model}: carried over to ${model.config.card.name}`);
  return {
    ...model,
    profile: { ...scaleProfile(profile, geometry), model: model.config.card.name },
  };
}

/** The whole loop. */
export async function calibrate(context: CalibrationContext): Promise<CalibrateResult> {
  const { options } = context;
  checkQuestion(options);
  const learnt = await learn(context);
  const file = profileFile(options);
  writeProfile(file, learnt.profile);
  return keeping(file, compare(context, learnt));
}

/** What follows a profile: plan, serve, measure, compare. */
async function compare(context: CalibrationContext, learnt: Learnt): Promise<CalibrateResult> {
  const { options } = context;
  const { profile, config, geometry } = learnt;
  const longest = twinOf(config.engine, geometry, config.card.contextTokens).maxRequestTokens;
  const added = profile.transport?.addedTokens ?? 0;
  const most = Math.max(2, longest - added);
  const { planRequests } = options.quick ? QUICK : FULL;
  const sample = withOverhead(
    userWorkload(options.lengths, planRequests, 1, options.seed + 1, most),
    added,
  );
  const slo = options.slo ?? usualSlo(profile, sample);
  const candidates = await plan(context, learnt, sample, slo);
  const winner = candidates[0] as JudgedKnobs;
  const rateQps = options.rate ?? options.load * winner.qps;
  if (!(rateQps > 0))
    throw new MillraceError("NOTHING_FITS", `${promised(slo)} is kept by no setting at any rate`, {
      hint: "promise more time with --slo, or name a rate with --rate to measure what happens then",
    });
  const requests = userWorkload(options.lengths, options.requests, rateQps, options.seed, most);
  const loads = Array.from({ length: options.repeats }, (_, i) => ({
    requests,
    seed: `${options.seed}/${i}`,
    phase: `measuring ${i + 1}/${options.repeats}`,
    streams: `run-${i + 1}.streams.jsonl`,
  }));
  const folder = join(options.out, "served");
  const measured = toldStage(context.session, 4);
  const runs = await measureAndCompare(context, learnt, winner.knobs, loads, slo, folder);
  measured(
    "served and measured",
    `${requests.count} requests${runs.length > 1 ? ` × ${runs.length}` : ""} at ${formatNumber(rateQps)} requests/s`,
  );
  return {
    schema: "millrace.calibrate/1",
    model: config.card.name,
    machine: profile.machine,
    threads: profile.threads,
    date: profile.date,
    seed: options.seed,
    profile: {
      file: profileFile(options),
      points: profile.points.length,
      heldOut: new ProfileCost(profile).heldOut,
      loop: profile.loop,
      transport: profile.transport,
    },
    workload: describeLengths(options),
    requests: requests.count,
    rateQps,
    load: winner.qps > 0 ? rateQps / winner.qps : null,
    slo,
    candidates,
    winner: winner.knobs,
    serve: ["millrace serve", ...wordsOf(serveFlags(winner.knobs, options.engine))].join(" "),
    figures: summarizeFigures(runs),
    runs,
    stepBias: meanOf(runs.map((run) => run.stepBias.now)),
    stepBiasAsProfiled: meanOf(runs.map((run) => run.stepBias.asProfiled)),
    decisionsEqual: runs.every((run) => run.replay.difference === null),
    doubts: doubtsOf(runs, profile),
  };
}

async function plan(
  { session, options, signal }: CalibrationContext,
  learnt: Learnt,
  requests: RequestTable,
  slo: readonly TwinSlo[],
): Promise<readonly JudgedKnobs[]> {
  const stage = toldStage(session, 3);
  const progress = session.progress();
  const judged = await judgeKnobs(options, {
    profile: learnt.profile,
    geometry: learnt.geometry,
    requests,
    slo,
    signal,
    onProgress: (done, total, best) =>
      progress.update({
        phase: "planning",
        done,
        total,
        ...(best === null ? {} : { best: describeKnobs(best.knobs) }),
      }),
  });
  progress.end();
  const [{ knobs, qps }] = judged as [JudgedKnobs, ...JudgedKnobs[]];
  const found =
    qps > 0
      ? `of ${judged.length} settings ${describeKnobs(knobs)} carries most: ${formatNumber(qps)} requests/s`
      : `none of ${judged.length} settings keeps ${promised(slo)} at any rate`;
  stage("planned", found);
  return judged;
}

/** Begins one of the four stages; the function says on stderr that it is over, what came of it and how long it took. */
function toldStage(session: Session, number: 1 | 2 | 3 | 4): (what: string, found: string) => void {
  const { now } = session.surroundings;
  const began = now();
  return (what, found) =>
    session.note(
      `${session.paintNote("faint", `${number}/4`)} ${session.paintNote("strong", what)}  ${found}  ${session.paintNote("faint", formatSeconds((now() - began) / 1000))}`,
    );
}

/** Of runs weighted alike. */
function meanOf(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
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
