/**
 * Makes the step cost model of a configuration from data that somebody else has read: `neededSource` says which files,
 * `createCostModel` builds. One registry; each entry names its source and its constructor.
 */
import { MillraceError } from "@millrace/core";
import { ProfileCost, parseStepProfile } from "@millrace/serving";
import type { PredictorConfig, SimulationConfig } from "../types.ts";
import type { PredictedCost } from "./cost-model.ts";
import { StepBorders } from "./roofline/borders.ts";
import { RooflineCost } from "./roofline/cost.ts";
import { tokenTable } from "./roofline/token-table.ts";
import { importVidurProfiles, type ProfileFiles } from "./vidur-profiles/import.ts";
import { VidurTablesCost } from "./vidur-tables/cost.ts";
import { parseVidurTables, type TableFiles, type VidurTables } from "./vidur-tables/tables.ts";
import { WithBorders } from "./with-borders.ts";

/** What was read for a predictor. `none` for those that need nothing. */
export type PredictorSource =
  | { readonly kind: "none" }
  | { readonly kind: "tables"; readonly files: TableFiles }
  | { readonly kind: "profiles"; readonly files: ProfileFiles }
  | { readonly kind: "profile"; readonly text: string };

/** The parts of a configuration that decide the time of a step. */
export type CostConfig = Pick<
  SimulationConfig,
  | "model"
  | "device"
  | "tensorParallel"
  | "pipelineParallel"
  | "weightBytes"
  | "kvBytes"
  | "predictor"
  | "overheads"
  | "compatibility"
> & { readonly kv: Pick<SimulationConfig["kv"], "blockSize"> };

interface Predictor {
  readonly source: PredictorSource["kind"];
  create(config: CostConfig, source: PredictorSource): PredictedCost;
}

const registry: Readonly<Record<PredictorConfig["type"], Predictor>> = {
  "vidur-tables": {
    source: "tables",
    create: (config, source) => {
      const { prefix, path } = config.predictor;
      const files = source.kind === "tables" ? source.files : new Map<string, Uint8Array>();
      const folder = path ?? "tables";
      return withBorders(
        config,
        once(source, prefix, () => parseVidurTables(files, prefix, folder)),
      );
    },
  },
  "vidur-profiles": {
    source: "profiles",
    create: (config, source) => {
      const files = source.kind === "profiles" ? source.files : new Map<string, string>();
      const { model, device, tensorParallel, pipelineParallel, kv, predictor } = config;
      const folder = predictor.path ?? "profiles";
      // Profiles were made with blocks of 16; other KV managers use the same kernels.
      const blockSize = kv.blockSize > 1 ? kv.blockSize : 16;
      const options = { model, device, tensorParallel, pipelineParallel, blockSize, folder };
      const key = JSON.stringify([model, device, tensorParallel, pipelineParallel, blockSize]);
      return withBorders(
        config,
        once(source, key, () => importVidurProfiles(files, options)),
      );
    },
  },
  roofline: { source: "none", create: (config) => new RooflineCost(config) },
  profile: {
    source: "profile",
    create: (config, source) => {
      const text = source.kind === "profile" ? source.text : "";
      const profile = parseStepProfile(text, config.predictor.path ?? "profile");
      return new ProfileCost(profile, config.tensorParallel, config.pipelineParallel);
    },
  },
};

/** Which files the predictor needs; they are read by `@millrace/sim/node`. */
export function neededSource(type: PredictorConfig["type"]): PredictorSource["kind"] {
  return registry[type].source;
}

/**
 * The step cost model of a configuration. Overheads are added to Vidur's tables and profiles unless the configuration
 * is Vidur-compatible; a profile of one's own has them measured. Throws PROFILE_INVALID.
 */
export function createCostModel(config: CostConfig, source: PredictorSource): PredictedCost {
  const predictor = registry[config.predictor.type];
  if (predictor.source !== "none" && source.kind !== predictor.source)
    throw new MillraceError(
      "PROFILE_INVALID",
      `predictor ${config.predictor.type} needs files, but predictor.path is ${JSON.stringify(config.predictor.path)}`,
      { hint: "Set predictor.path to the folder or file of the predictor, or use type roofline." },
    );
  return predictor.create(config, source);
}

const made = new WeakMap<PredictorSource, Map<string, VidurTables>>();

/** Tables of one source are parsed once, however many configurations of a search use them. */
function once(source: PredictorSource, key: string, make: () => VidurTables): VidurTables {
  let tables = made.get(source);
  if (tables === undefined) {
    tables = new Map();
    made.set(source, tables);
  }
  let found = tables.get(key);
  if (found === undefined) {
    found = make();
    tables.set(key, found);
  }
  return found;
}

function withBorders(config: CostConfig, tables: VidurTables): PredictedCost {
  const cost = new VidurTablesCost(tables, config);
  const { host, lmHead, sampling } = config.overheads;
  if (config.compatibility === "vidur" || !(host || lmHead || sampling)) return cost;
  const borders = new StepBorders(tokenTable(config).layer, config);
  return new WithBorders(cost, borders, config.pipelineParallel);
}
