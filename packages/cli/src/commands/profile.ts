/** `millrace profile`: what steps of a model cost on this machine, measured through the engine's own executor. */
import { formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { measureGrid, openProfiled, profileGrid } from "@millrace/engine/profile";
import { ProfileCost } from "@millrace/serving";
import { readServeConfig } from "../engine/serve-config.ts";
import { stepProfile } from "../engine/step-profile.ts";
import type { Session } from "../session.ts";
import { facts } from "../ui/table.ts";

interface ProfileFlags {
  readonly from?: string;
  readonly quick?: boolean;
  readonly rounds?: number;
  readonly seed?: number;
  readonly out?: string;
}

/** Seconds after which no further round begins. */
const QUICK_SECONDS = 22;
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
  const config = readServeConfig(all);
  if (config.engine.executor === "libllama")
    throw new MillraceError("USAGE", "libllama's steps cannot be profiled", {
      hint: "its KV cache cannot be filled without computing it; leave --executor out",
    });
  const { quick = false, rounds = quick ? 5 : 7, seed = 42, out = "profile.json" } = flags;
  const progress = session.progress();
  using profiled = await openProfiled(config.engine, (phase) =>
    progress.update({ phase, done: 0, total: 0 }),
  );
  const grid = profileGrid(profiled.limits, quick);
  const points = await session.interruptible((signal) =>
    measureGrid(profiled.executor, grid, {
      rounds,
      budgetSeconds: quick ? QUICK_SECONDS : FULL_SECONDS,
      seed,
      now: () => performance.now() / 1000,
      provide: profiled.provide,
      signal,
      onProgress: (done, total) =>
        progress.update({ phase: "measuring", done, total, note: `${grid.length} batches` }),
    }),
  );
  progress.end();
  const profile = stepProfile(config, profiled, points);
  writeFileAtomic(out, `${JSON.stringify(profile, null, 1)}\n`);
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
    });
    return 0;
  }
  const slowest = points.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  const fastest = points.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  session.print([
    `wrote ${out}`,
    ...facts(
      [
        ["model", profile.model],
        ["points", `${points.length} batches, each run at least ${repeats} times`],
        ["steps", `${formatSeconds(fastest.seconds)} to ${formatSeconds(slowest.seconds)}`],
        [
          "held-out error",
          `p50 ${formatNumber(heldOut.p50)} %, p90 ${formatNumber(heldOut.p90)} % of points that the fit had not seen`,
        ],
      ],
      { paint: session.paint, indent: 2 },
    ),
  ]);
  return 0;
}
