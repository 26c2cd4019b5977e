/** Checks of a load spec that types cannot make. Each names the bad value and what to do. */
import { MillraceError } from "@millrace/core";
import type { ArrivalSpec } from "@millrace/serving";
import type { LoadArrivals, LoadSpec } from "../contracts.ts";

function bad(message: string, hint: string): never {
  throw new MillraceError("CONFIG_INVALID", message, { hint });
}

function positive(value: number, name: string, hint = "give a number above 0"): void {
  if (!(value > 0 && value < Number.POSITIVE_INFINITY)) bad(`${name} is ${value}`, hint);
}

function whole(value: number | undefined, name: string, least: number): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= least))
    bad(`${name} is ${value}`, `give a whole number of at least ${least}`);
}

/** Throws MillraceError CONFIG_INVALID for the first thing that cannot be sent. */
export function checkLoad(load: LoadSpec): void {
  checkArrivals(load.arrivals);
  whole(load.requests, "requests", 1);
  whole(load.maxConcurrency, "maxConcurrency", 1);
  whole(load.warmup?.requests, "warmup.requests", 0);
  whole(load.warmup?.concurrency, "warmup.concurrency", 1);
  whole(load.maxTokens, "maxTokens", 2);
  if (load.duration !== undefined) positive(load.duration, "duration", "give seconds above 0");
  if (load.drainSeconds !== undefined && !(load.drainSeconds >= 0))
    bad(`drainSeconds is ${load.drainSeconds}`, "give seconds of at least 0");
  if (load.cost !== undefined) {
    positive(load.cost.maxDollars, "cost.maxDollars");
    for (const key of ["perMillionPrompt", "perMillionOutput"] as const)
      if (!(load.cost[key] >= 0))
        bad(`cost.${key} is ${load.cost[key]}`, "give dollars, at least 0");
  }
  const { sessions } = load;
  if (sessions !== undefined) {
    const { turns } = sessions;
    whole(typeof turns === "number" ? turns : turns.min, "sessions.turns", 1);
    if (typeof turns !== "number") whole(turns.max, "sessions.turns.max", turns.min);
    if (!(sessions.thinkSeconds >= 0 && Number.isFinite(sessions.thinkSeconds)))
      bad(`sessions.thinkSeconds is ${sessions.thinkSeconds}`, "give seconds of at least 0");
  }
  if (ends(load)) return;
  bad("the load never ends", "set requests or duration");
}

/** Whether the schedule ends by itself, by requests or by duration. */
function ends(load: LoadSpec): boolean {
  if (load.requests !== undefined) return true;
  const { type } = load.arrivals;
  if (type === "ramp" || type === "sweep" || type === "trace") return true;
  if (load.duration === undefined) return false;
  return !(load.arrivals.type === "static" && load.arrivals.qps === undefined);
}

function checkArrivals(arrivals: LoadArrivals): void {
  switch (arrivals.type) {
    case "closed":
      whole(arrivals.concurrency, "arrivals.concurrency", 1);
      if (!((arrivals.rampSeconds ?? 0) >= 0))
        bad(`arrivals.rampSeconds is ${arrivals.rampSeconds}`, "give seconds of at least 0");
      return;
    case "ramp":
      positive(arrivals.seconds, "arrivals.seconds");
      for (const key of ["fromQps", "toQps"] as const)
        if (!(arrivals[key] >= 0 && Number.isFinite(arrivals[key])))
          bad(`arrivals.${key} is ${arrivals[key]}`, "give requests per second, at least 0");
      positive(arrivals.fromQps + arrivals.toQps, "the sum of fromQps and toQps");
      return;
    case "sweep":
      if (arrivals.stages.length === 0)
        bad("a sweep has no stages", "give at least one {qps, seconds}");
      for (const stage of arrivals.stages) {
        positive(stage.qps, "qps of a stage");
        positive(stage.seconds, "seconds of a stage");
      }
      return;
    default:
      checkProcess(arrivals);
  }
}

function checkProcess(arrivals: ArrivalSpec): void {
  if (arrivals.type !== "trace" && arrivals.qps !== undefined)
    positive(arrivals.qps, "arrivals.qps", "give requests per second, above 0");
  if (arrivals.type === "gamma" && !(arrivals.cv >= 0 && arrivals.cv <= 100))
    bad(`arrivals.cv is ${arrivals.cv}`, "give a coefficient of variation from 0 to 100");
  if (arrivals.type === "trace" && arrivals.timeScale !== undefined)
    positive(arrivals.timeScale, "arrivals.timeScale");
}
