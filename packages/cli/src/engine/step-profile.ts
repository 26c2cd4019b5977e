/** The step profile of a machine: what a grid of batches cost, with what must be known to use it elsewhere. */
import { cpus } from "node:os";
import { type Profiled, stepGeometry } from "@millrace/engine/profile";
import { STEP_PROFILE_SCHEMA, type StepProfile } from "@millrace/serving";
import { version } from "../program/version.ts";
import type { OpenedConfig } from "./serve-config.ts";

/** A profile of measured points alone: nothing is known of the serving loop and of transport yet. */
export function stepProfile(
  config: OpenedConfig,
  profiled: Profiled,
  points: StepProfile["points"],
): StepProfile {
  return {
    schema: STEP_PROFILE_SCHEMA,
    model: config.card.name,
    machine: `${(cpus()[0]?.model ?? "unknown").trim()} × ${cpus().length}`,
    threads: config.engine.threads,
    engine: `millrace ${version}, ggml`,
    date: new Date().toISOString().slice(0, 10),
    units: { time: "s", length: "token" },
    tileTokens: profiled.limits.tileTokens,
    geometry: stepGeometry(config.engine.modelPath),
    points,
    operators: [],
    loop: null,
    transport: null,
  };
}
