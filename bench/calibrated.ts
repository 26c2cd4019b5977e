/** What the benches of prediction share: a small model, its profile and serving loop, and the settings of its engine. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openProfiled } from "@millrace/engine/profile";
import { makeModel } from "@millrace/ggml/gguf";
import { checkStepProfile, ProfileCost, type SchedulerName } from "@millrace/serving";
import type { TwinCost, TwinSettings } from "@millrace/sim/twin";
import { type Knobs, serveFlags, twinOf } from "../packages/cli/src/calibration/candidates.ts";
import {
  type CalibrateOptions,
  calibrateOptionsOf,
} from "../packages/cli/src/calibration/options.ts";
import {
  type CalibrationContext,
  type Learnt,
  learn,
} from "../packages/cli/src/calibration/pipeline.ts";
import { readServeConfig } from "../packages/cli/src/engine/serve-config.ts";
import { Session } from "../packages/cli/src/session.ts";

export interface Calibrated extends Disposable {
  /** Where files go. */
  readonly folder: string;
  /** True when the folder outlives the process. */
  readonly kept: boolean;
  readonly options: CalibrateOptions;
  readonly context: CalibrationContext;
  readonly learnt: Learnt;
  readonly cost: TwinCost;
  settings(knobs: Knobs): TwinSettings;
}

/** Sarathi-Serve with chunks of 128, the others with whole prompts; up to 32 sequences. */
export function usualKnobs(scheduler: SchedulerName): Knobs {
  return {
    scheduler,
    chunkSize: scheduler === "sarathi-serve" ? 128 : null,
    batchSizeCap: 32,
    pageBytes: null,
  };
}

/**
 * Profiles the model `small` on one thread and learns its serving loop, about 80 seconds; with MILLRACE_CALIBRATION=FOLDER
 * once, for all processes.
 */
export async function calibrated(): Promise<Calibrated> {
  const given = process.env.MILLRACE_CALIBRATION;
  const folder = given ?? mkdtempSync(join(tmpdir(), "millrace-calibration-"));
  mkdirSync(folder, { recursive: true });
  const model = join(folder, "small.gguf");
  if (!existsSync(model)) makeModel({ preset: "small", out: model });
  const flags = { model, threads: 1, context: 1024, kvMemory: "256MiB", out: join(folder, "runs") };
  const options = calibrateOptionsOf({ ...flags, quick: true, learn: "45s" });
  const session = new Session(
    {
      stdout: process.stdout,
      stderr: { write: () => true },
      environment: { CI: "1" },
      now: () => performance.now(),
    },
    { quiet: true },
  );
  const context = { session, options, signal: new AbortController().signal };
  const file = join(folder, "learnt.json");
  const learnt = existsSync(file) ? await reopened(file, options) : await learn(context);
  const { profile, overheadTokens, config, profiled } = learnt;
  writeFileSync(file, JSON.stringify({ profile, overheadTokens }));
  return {
    folder,
    kept: given !== undefined,
    options,
    context,
    learnt,
    cost: { cost: new ProfileCost(profile), transport: profile.transport },
    settings: (knobs) =>
      twinOf(
        readServeConfig(serveFlags(knobs, options)).engine,
        profiled.executor.kv,
        config.card.contextTokens,
      ),
    [Symbol.dispose]: () => {
      profiled[Symbol.dispose]();
      if (given === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The profile of a process before, and the model opened again. */
async function reopened(file: string, options: CalibrateOptions): Promise<Learnt> {
  const known = JSON.parse(readFileSync(file, "utf8"));
  const config = readServeConfig(serveFlags(usualKnobs("sarathi-serve"), options));
  return {
    profile: checkStepProfile(known.profile, file),
    overheadTokens: known.overheadTokens,
    profiled: await openProfiled(config.engine, () => {}),
    config,
  };
}
