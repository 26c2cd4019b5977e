/** The capacity of a live endpoint: search, probes and report put together. */
import { MillraceError } from "@millrace/core";
import { targetOf } from "../transport/target.ts";
import { fluidityCurve } from "./curve.ts";
import { type DriveOptions, driveCapacity } from "./drive.ts";
import { type LiveProbeOptions, liveProbe } from "./live-probe.ts";
import type { CapacityPrediction } from "./prediction.ts";
import { CAPACITY_SCHEMA, type CapacityReport } from "./report.ts";
import { CapacitySearch, type CapacitySearchOptions } from "./search.ts";

export interface LiveCapacityOptions extends LiveProbeOptions, DriveOptions {
  readonly search: Omit<CapacitySearchOptions, "startQps" | "width"> &
    Partial<Pick<CapacitySearchOptions, "startQps">>;
  /** Seeds the search; startQps of `search` wins over its rate. */
  readonly prediction?: CapacityPrediction | null;
}

/**
 * Searches. Throws ENVIRONMENT_MISSING when the endpoint never answered and CONFIG_INVALID for options that cannot be;
 * everything later is in the report.
 */
export async function searchLiveCapacity(options: LiveCapacityOptions): Promise<CapacityReport> {
  const { endpoint, goal, seed, prediction = null } = options;
  if (goal.slo.length === 0)
    throw new MillraceError("CONFIG_INVALID", "there is no SLO to search the capacity for", {
      hint: "name one, e.g. fluid-requests>=99%",
    });
  const rising = goal.slo.find(({ metric }) => metric === "rate" || metric === "tokens");
  if (rising !== undefined)
    throw new MillraceError(
      "CONFIG_INVALID",
      `${rising.text} is kept above some rate, and a capacity is the highest rate below which an SLO is kept`,
      { hint: "leave it out: the capacity is the rate that is asked for" },
    );
  const startQps = options.search.startQps ?? prediction?.rateQps ?? 1;
  const search = new CapacitySearch({
    ...options.search,
    startQps,
    ...(prediction === null ? {} : { width: prediction.width }),
  });
  const { end, problem, probes, capacity } = await driveCapacity(
    search,
    liveProbe(options),
    options,
  );
  const { api, model, choices = 1 } = endpoint;
  return {
    schema: CAPACITY_SCHEMA,
    endpoint: { url: targetOf(endpoint).url, api, model, choices },
    seed: String(seed),
    slo: goal.slo.map(({ text }) => text),
    targets: goal.targets,
    maxErrors: goal.maxErrors,
    startQps,
    prediction:
      prediction === null ? null : { source: prediction.source, rateQps: prediction.rateQps },
    tolerance: search.options.tolerance,
    end,
    problem,
    capacity,
    probes,
    curve: fluidityCurve(probes),
  };
}
