/** Looking up what a file names: models and devices, of the file itself first, then of the catalogue. */
import { MillraceError, type Place } from "@millrace/core";
import type { z } from "zod";
import type { DeviceSpec, ModelSpec, PredictorConfig, SimulationConfig } from "../types.ts";
import { type deviceRef, type modelRef, toDeviceSpec, toModelSpec } from "./hardware.ts";
import type { compatibility, overheads, predictor } from "./run.ts";

/** A key of the file, from the root. */
export type KeyPath = readonly (string | number)[];

/** What resolving needs from outside. */
export interface ResolveContext {
  /** The model of a catalogue name or of the path of a Hugging Face config.json. Throws MODEL_UNKNOWN, FILE_UNREADABLE. */
  readonly findModel: (ref: string) => ModelSpec;
  /** Throws DEVICE_UNKNOWN. */
  readonly findDevice: (ref: string) => DeviceSpec;
  /** Where a key stands in the file, for messages. */
  readonly locate?: (path: KeyPath) => Place | undefined;
  /** Turns the path of a file that the configuration names into one that can be opened. */
  readonly filePath?: (path: string) => string;
  /** What a predictor says of its own error, percent; null when it says nothing. */
  readonly predictorErrorPercent?: (of: z.output<typeof predictor>) => number | null;
  /** Longest request of the run in tokens, prompt and output; null when unknown. */
  readonly longestRequest: number | null;
}

/** Runs `find`; an error of its gets the key and the place of `path`. */
export function atKey<T>(context: ResolveContext, path: KeyPath, find: () => T): T {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof MillraceError) || error.at !== undefined) throw error;
    const place = context.locate?.(path);
    throw new MillraceError(error.code, `${path.join(".")}: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(place === undefined ? {} : { at: place }),
      cause: error.cause,
    });
  }
}

type ModelRef = z.output<typeof modelRef>;
type DeviceRef = z.output<typeof deviceRef>;

/** Models and devices by the names a file may use. */
export interface Names {
  readonly model: (ref: ModelRef, path: KeyPath) => ModelSpec;
  readonly device: (ref: DeviceRef, path: KeyPath) => DeviceSpec;
}

/** Own names of the file first, then the catalogue; prices replace the catalogue's. */
export function namesOf(
  own: {
    readonly models?: Readonly<Record<string, ModelRef>> | undefined;
    readonly devices?: Readonly<Record<string, Exclude<DeviceRef, string>>> | undefined;
    readonly prices?: Readonly<Record<string, number>>;
  },
  context: ResolveContext,
): Names {
  const model = (ref: ModelRef, path: KeyPath): ModelSpec => {
    if (typeof ref !== "string") return toModelSpec(ref, "configuration file");
    const mine = own.models?.[ref];
    if (mine === undefined) return atKey(context, path, () => context.findModel(ref));
    const spec =
      typeof mine === "string"
        ? atKey(context, ["models", ref], () => context.findModel(mine))
        : toModelSpec(mine, "configuration file");
    return { ...spec, name: ref };
  };
  const listed = (ref: DeviceRef, path: KeyPath): DeviceSpec => {
    if (typeof ref !== "string") return toDeviceSpec(ref, "configuration file");
    const mine = own.devices?.[ref];
    if (mine !== undefined) return { ...toDeviceSpec(mine, "configuration file"), name: ref };
    return atKey(context, path, () => context.findDevice(ref));
  };
  const prices = new Map<string, number>();
  for (const [ref, dollars] of Object.entries(own.prices ?? {}))
    prices.set(listed(ref, ["prices", ref]).name, dollars);
  const device = (ref: DeviceRef, path: KeyPath): DeviceSpec => {
    const spec = listed(ref, path);
    const dollarsPerHour = prices.get(spec.name);
    return dollarsPerHour === undefined ? spec : { ...spec, dollarsPerHour };
  };
  return { model, device };
}

/** Fills the predictor's settings. */
export function resolvePredictor(
  input: z.output<typeof predictor>,
  context: ResolveContext,
): PredictorConfig {
  const path = "path" in input ? input.path : undefined;
  return {
    type: input.type,
    path: path === undefined ? null : (context.filePath?.(path) ?? path),
    prefix: ("prefix" in input ? input.prefix : undefined) ?? "default",
  };
}

/** Every term on by default; off where Vidur's arithmetic is asked for. */
export function resolveOverheads(
  input: z.output<typeof overheads> | undefined,
  mode: z.output<typeof compatibility>,
): SimulationConfig["overheads"] {
  const usual = typeof input === "boolean" ? input : mode === "none";
  const given = typeof input === "object" ? input : {};
  return {
    host: given.host ?? usual,
    lmHead: given.lmHead ?? usual,
    sampling: given.sampling ?? usual,
  };
}
