/** From flags and plan.yaml to the question that the search answers. */
import { MillraceError } from "@millrace/core";
import { generateWorkload, type WorkloadInputs, type WorkloadSpec } from "@millrace/serving";
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
    longestRequest: null,
  };
  const { spec: described, inputs } = openWorkload(input.workload, filePath);
  const { model } = resolvePlan(input, described, context);
  const workload = withinContext(described, model);
  const longest = longestOf(workload, inputs, input.seed);
  const spec = resolvePlan(input, workload, { ...context, longestRequest: longest });
  return { spec, inputs, configText: text };
}

/** Tokens of the longest of many requests; the search sets the rate, so that arrivals do not matter. */
function longestOf(
  workload: WorkloadSpec,
  inputs: WorkloadInputs,
  seed: number,
): number {
  const { duration: _, ...rest } = workload;
  const spec: WorkloadSpec = {
    arrivals: { type: "poisson", qps: 1 },
    ...rest,
    requests: workload.requests ?? SAMPLE,
  };
  return longestRequest(generateWorkload(spec, seed, inputs));
}
