/** What the benches of prediction share: a model, its profile and serving loop, and the settings of its engine. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MadeType, makeModel, type PresetName } from "@millrace/ggml/gguf";
import { ProfileCost } from "@millrace/serving";
import type { TwinCost, TwinSettings } from "@millrace/sim/twin";
import { type Knobs, serveFlags, twinOf } from "../packages/cli/src/calibration/candidates.ts";
import { profileDoubts } from "../packages/cli/src/calibration/doubts.ts";
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
  readonly options: CalibrateOptions;
  readonly context: CalibrationContext;
  readonly learnt: Learnt;
  /** Tokens that the server adds to each prompt. */
  readonly addedTokens: number;
  readonly cost: TwinCost;
  settings(knobs: Knobs): TwinSettings;
}

/** Model of the validation: steps of 3 to 150 ms, long against the jitter of a shared machine. */
export interface ModelOf {
  readonly preset: PresetName;
  readonly type: MadeType;
}
export const usualModel: ModelOf = { preset: "medium", type: "q8_0" };

/** Makes the model where it is not there yet. */
export function modelFile(folder: string, { preset, type }: ModelOf): string {
  const file = join(folder, `${preset}-${type}.gguf`);
  if (!existsSync(file)) makeModel({ preset, type, out: file });
  return file;
}

/**
 * Profiles the usual model on one thread and learns its serving loop, about 100 seconds; with MILLRACE_CALIBRATION=FOLDER
 * once, for all processes.
 */
export async function calibrated(): Promise<Calibrated> {
  const given = process.env.MILLRACE_CALIBRATION;
  const folder = given ?? mkdtempSync(join(tmpdir(), "millrace-calibration-"));
  mkdirSync(folder, { recursive: true });
  const file = join(folder, PROFILE);
  const calibration = await prepared(folder, usualModel, existsSync(file) ? file : null);
  const [doubt] = profileDoubts(calibration.learnt.profile);
  if (doubt !== undefined)
    throw new Error(`${doubt}: a bench rests on a profile of a quiet machine`);
  writeFileSync(file, JSON.stringify(calibration.learnt.profile));
  return {
    ...calibration,
    [Symbol.dispose]: () => {
      if (given === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Another model with the profile of the usual one, carried over to its geometry: nothing of it is measured. */
export function carriedOver({ folder }: Calibrated, model: ModelOf): Promise<Calibrated> {
  return prepared(folder, model, join(folder, PROFILE));
}

const PROFILE = "profile.json";

async function prepared(
  folder: string,
  of: ModelOf,
  profileFile: string | null,
): Promise<Calibrated> {
  const model = modelFile(folder, of);
  const options = calibrateOptionsOf({
    ...{ model, threads: 1, context: 1024, kvMemory: "512MiB" },
    ...(profileFile === null ? {} : { profile: profileFile }),
    quick: true,
    learn: "60s",
    out: join(folder, "runs"),
  });
  const session = Session.silent();
  const context = { session, options, signal: new AbortController().signal };
  const learnt = await learn(context);
  const { profile, config, geometry } = learnt;
  return {
    folder,
    options,
    context,
    learnt,
    addedTokens: profile.transport?.addedTokens ?? 0,
    cost: {
      cost: new ProfileCost(profile),
      transport: profile.transport,
      jitter: profile.loop?.jitter ?? null,
    },
    settings: (knobs) =>
      twinOf(
        readServeConfig(serveFlags(knobs, options.engine)).engine,
        geometry,
        config.card.contextTokens,
      ),
    [Symbol.dispose]: () => {},
  };
}
