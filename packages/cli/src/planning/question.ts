/** From flags and plan.yaml to the question that the search answers. */
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import {
  generateWorkload,
  type Lengths,
  parseStepProfile,
  type RequestTable,
  type StepProfile,
  shareBeyond,
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

/** Requests that are drawn to see how long they are. */
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
  const requests = sampleOf(workload, inputs, input.seed);
  const profile = ownProfile(input.predictor, filePath);
  const unseenShare = unseenOf(profile, requests);
  const spec = resolvePlan(input, workload, {
    ...context,
    predictorErrorPercent: () => ownError(profile, unseenShare),
    longestRequest: longestRequest(requests),
  });
  return { spec: { ...spec, unseenShare }, inputs, configText: text };
}

type PlanPredictor = { readonly type: string; readonly path?: string | undefined };

/** The profile that a plan predicts with, if it is one's own. One that cannot be read is refused by the search. */
function ownProfile(
  { type, path }: PlanPredictor,
  filePath: (path: string) => string,
): StepProfile | null {
  if (type !== "profile" || path === undefined) return null;
  const file = filePath(path);
  return existsSync(file) ? parseStepProfile(readTextFile(file), file) : null;
}

/** Share of requests of lengths that the profile has not seen, from which they count. */
const UNSEEN = 0.25;
const MOST_PERCENT = 100;

/** That share; 0 where so few are unseen that the load is one like those seen. */
function unseenOf(profile: StepProfile | null, requests: RequestTable): number {
  if (profile?.seen === undefined) return 0;
  const share = shareBeyond(profile.seen, lengthsOf(requests));
  return share > UNSEEN ? share : 0;
}

/** What a profile says of its own error, percent. */
function ownError(profile: StepProfile | null, unseenShare: number): number | null {
  const { uncertainty, uncertaintyBeyond } = profile ?? {};
  const error = unseenShare > 0 ? (uncertaintyBeyond ?? uncertainty) : uncertainty;
  if (error === undefined) return null;
  return Math.min(MOST_PERCENT, Number((100 * error).toPrecision(2)));
}

function lengthsOf({ promptTokens, outputTokens }: RequestTable): readonly Lengths[] {
  return Array.from(promptTokens, (prompt, i) => [prompt, outputTokens[i] as number]);
}

/** Many requests of the workload; the search sets the rate, so that arrivals do not matter. */
function sampleOf(workload: WorkloadSpec, inputs: WorkloadInputs, seed: number): RequestTable {
  const { duration: _, ...rest } = workload;
  const spec: WorkloadSpec = {
    arrivals: { type: "poisson", qps: 1 },
    ...rest,
    requests: workload.requests ?? SAMPLE,
  };
  return generateWorkload(spec, seed, inputs);
}
