/** From flags and plan.yaml to the question that the search answers. */
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import {
  generateWorkload,
  parseStepProfile,
  type WorkloadInputs,
  type WorkloadSpec,
} from "@millrace/serving";
import { findDevice } from "@millrace/sim";
import { planSchema, resolvePlan } from "@millrace/sim/config";
import type { PlanSpec } from "@millrace/sim/search";
import { openModel, pathBeside } from "../references.ts";
import { readConfiguration } from "../simulation/configuration.ts";
import { longestRequest, openWorkload, withinContext } from "../simulation/requests.ts";

/** The question, and what it was made from. */
export interface Question {
  readonly spec: PlanSpec;
  readonly inputs: WorkloadInputs;
  readonly configText: string;
}

/** Requests that are drawn to see how long the longest is. */
const SAMPLE = 20_000;

/** Reads plan.yaml. Throws like readConfiguration and resolvePlan. */
export function readQuestion(file: string | undefined, set: readonly string[]): Question {
  const configuration = readConfiguration(file, planSchema, set, "plan");
  const { value: input, locate, text } = configuration;
  if (input.workload === undefined)
    throw new MillraceError("CONFIG_INVALID", "nothing says what the requests look like", {
      hint: "add workload: azure-conv-2023, or another name that `millrace workloads` lists",
    });
  const filePath = pathBeside(configuration.file);
  const context = {
    findModel: (ref: string) => openModel(ref, filePath),
    findDevice,
    locate,
    filePath,
    predictorErrorPercent: (predictor: PlanPredictor) => ownError(predictor, filePath),
    longestRequest: null,
  };
  const { spec: described, inputs } = openWorkload(input.workload, filePath);
  const { model } = resolvePlan(input, described, context);
  const workload = withinContext(described, model);
  const longest = longestOf(workload, inputs, input.seed);
  const spec = resolvePlan(input, workload, { ...context, longestRequest: longest });
  return { spec, inputs, configText: text };
}

type PlanPredictor = { readonly type: string; readonly path?: string | undefined };

/** What the profile of a predictor says of its own error, percent. A profile that cannot be read is refused by the search. */
function ownError(
  { type, path }: PlanPredictor,
  filePath: (path: string) => string,
): number | null {
  if (type !== "profile" || path === undefined) return null;
  const file = filePath(path);
  if (!existsSync(file)) return null;
  const { uncertainty } = parseStepProfile(readTextFile(file), file);
  return uncertainty === undefined ? null : Number((100 * uncertainty).toPrecision(2));
}

/** Tokens of the longest of many requests; the search sets the rate, so that arrivals do not matter. */
function longestOf(workload: WorkloadSpec, inputs: WorkloadInputs, seed: number): number {
  const { duration: _, ...rest } = workload;
  const spec: WorkloadSpec = {
    arrivals: { type: "poisson", qps: 1 },
    ...rest,
    requests: workload.requests ?? SAMPLE,
  };
  return longestRequest(generateWorkload(spec, seed, inputs));
}
