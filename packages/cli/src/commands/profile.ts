/**
 * `millrace profile`: what steps of a model cost on this machine, measured through the engine's own executor, and what
 * serving adds to them, learnt from a short load on a real server.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatNumber, formatSeconds, MillraceError, parseSeconds } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { stepGeometry } from "@millrace/engine/profile";
import { ProfileCost, parseStepProfile, type StepProfile, scaleProfile } from "@millrace/serving";
import { learnLoop, measureProfile } from "../calibration/learn.ts";
import { readServeConfig } from "../engine/serve-config.ts";
import type { Session } from "../session.ts";
import { facts } from "../ui/table.ts";

interface ProfileFlags {
  readonly from?: readonly string[];
  readonly scale?: string;
  readonly quick?: boolean;
  readonly rounds?: number;
  readonly learn?: string;
  readonly seed?: number;
  readonly out?: string;
}

/** Seconds after which no further round begins. */
const QUICK_SECONDS = 18;
const FULL_SECONDS = 15 * 60;

export async function profileCommand(
  session: Session,
  all: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = all as ProfileFlags;
  if (flags.from !== undefined) {
    const { profileFromCommand } = await import("./profile-from.ts");
    return profileFromCommand(session, { ...flags, from: flags.from });
  }
  const { out = "profile.json" } = flags;
  const { executor } = readServeConfig(all).engine;
  if (executor === "libllama")
    throw new MillraceError("USAGE", "libllama's steps cannot be profiled", {
      hint: "its KV cache cannot be filled without computing it; leave --executor out",
    });
  const profile =
    flags.scale === undefined
      ? await session.interruptible((signal) => measured(session, all, flags, signal))
      : scaled(all, flags.scale);
  writeFileAtomic(out, `${JSON.stringify(profile, null, 1)}\n`);
  print(session, profile, out, flags.scale);
  return 0;
}

async function measured(
  session: Session,
  all: Readonly<Record<string, unknown>>,
  { quick = false, rounds = quick ? 5 : 7, seed = 42, learn }: ProfileFlags,
  signal: AbortSignal,
): Promise<StepProfile> {
  const seconds = parseSeconds(learn ?? (quick ? "10s" : "40s"), "--learn");
  const budgetSeconds = quick ? QUICK_SECONDS : FULL_SECONDS;
  const { profile, ...model } = await measureProfile(
    session,
    all,
    { quick, rounds, budgetSeconds, seed },
    signal,
  );
  if (seconds === 0) return profile;
  const folder = mkdtempSync(join(tmpdir(), "millrace-profile-"));
  try {
    return await learnLoop(session, profile, model, { engine: all, seconds, folder, signal });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The profile of another model on this machine, carried over to this one's geometry. */
function scaled(all: Readonly<Record<string, unknown>>, file: string): StepProfile {
  const { engine, card } = readServeConfig(all);
  const known = parseStepProfile(readTextFile(file), file);
  return { ...scaleProfile(known, stepGeometry(engine.modelPath)), model: card.name };
}

function print(session: Session, profile: StepProfile, out: string, scale?: string): void {
  const { points, loop, transport } = profile;
  const { heldOut } = new ProfileCost(profile);
  const repeats = Math.min(...points.map((p) => p.repeats));
  if (session.json) {
    session.printJson({
      schema: "millrace.profile-summary/1",
      file: out,
      model: profile.model,
      points: points.length,
      repeats,
      heldOut,
      loopSteps: loop?.steps ?? null,
      transportRequests: transport?.requests ?? null,
      scaledFrom: scale ?? null,
    });
    return;
  }
  const slowest = points.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  const fastest = points.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  session.print([
    `wrote ${out}`,
    ...facts(
      [
        ["model", profile.model],
        [
          "points",
          scale === undefined
            ? `${points.length} batches, each run at least ${repeats} times`
            : `${points.length} batches of ${scale}, carried over to this geometry: not measured`,
        ],
        ["steps", `${formatSeconds(fastest.seconds)} to ${formatSeconds(slowest.seconds)}`],
        [
          "held-out error",
          `p50 ${formatNumber(heldOut.p50)} %, p90 ${formatNumber(heldOut.p90)} % of points that the fit had not seen`,
        ],
        [
          "serving loop",
          loop === null
            ? "not measured"
            : `learnt from ${formatNumber(loop.steps)} steps under load`,
        ],
      ],
      { paint: session.paint, indent: 2 },
    ),
  ]);
}
