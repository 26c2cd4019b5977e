/** From what the phases found to `millrace.plan/1`. */
import { formatPercent, formatSeconds, mean } from "@millrace/core";
import { sloName } from "../simulate/slo.ts";
import type { PlanResult, SloTerm } from "../types.ts";
import type { Confirmed } from "./confirming.ts";
import type { JudgedCurrent } from "./current.ts";
import { loadOf, type MeanTokens, peakQps } from "./economics.ts";
import { notModelled } from "./honesty.ts";
import { launchCommands } from "./launch.ts";
import { paretoFront } from "./pareto.ts";
import type { Screening } from "./screening.ts";
import type { ExpandedSpace } from "./space.ts";
import type { PlanSpec } from "./spec.ts";
import { judgedCandidate } from "./standing.ts";
import { type DescribeWorkload, describeShape, makeWorkload } from "./workload.ts";

export interface Findings {
  readonly space: ExpandedSpace;
  readonly screening: Screening;
  readonly confirmation: Confirmed;
  readonly current: JudgedCurrent;
}

/** What `planResult` leaves to the plan itself. */
type Later =
  | "sensitivity"
  | "robust"
  | "simulations"
  | "simulatedRequests"
  | "simulatedGpuHours"
  | "elapsedMs";

export function planResult(
  spec: PlanSpec,
  findings: Findings,
  workload: DescribeWorkload,
): Omit<PlanResult, Later> {
  const { screening, confirmation, current } = findings;
  const tokens = meanTokens(spec, workload);
  const candidates = confirmation.ranked.map((s) => judgedCandidate(spec, s, tokens));
  const winner = confirmation.contenders[0];
  const best = winner === undefined ? null : judgedCandidate(spec, winner, tokens);
  return {
    schema: "millrace.plan/1",
    model: spec.model.name,
    load:
      peakQps(spec) === null
        ? { ...loadOf(spec), qps: winner?.economics.carriedQps ?? 0 }
        : loadOf(spec),
    workload: describeShape(spec.workload, tokens),
    slo: spec.slo.map(sloTermText),
    best,
    candidates,
    pareto: paretoFront(candidates),
    rejected: rejections(findings),
    nearestMiss: best === null ? nearestMiss(findings) : null,
    notModelled: notModelled(spec),
    current: current.standing === null ? null : judgedCandidate(spec, current.standing, tokens),
    launch:
      winner === undefined
        ? []
        : launchCommands(spec.model, winner.config, winner.deployment.scheduler),
    judged: screening.standings.length + screening.missed.length,
    pruned: 0,
    seed: spec.seed,
  };
}

/** Mean tokens over the requests that screening replays. */
function meanTokens(spec: PlanSpec, workload: DescribeWorkload): MeanTokens {
  const { promptTokens, outputTokens } = makeWorkload(
    workload(spec.confirmation.requests, spec.seed + 1),
  );
  return {
    prompt: mean(Float64Array.from(promptTokens)),
    output: mean(Float64Array.from(outputTokens)),
  };
}

/** Everything that is out: by the rules and the memory, by the SLO, by failure, and what confirmation took back. */
function rejections({ space, screening, confirmation, current }: Findings): PlanResult["rejected"] {
  const lost = confirmation.lost.map(({ config }) => ({
    config,
    reason: "met the SLO when screened, but at no rate in the longer runs of the confirmation",
  }));
  const all = [
    ...space.rejected,
    ...screening.missed,
    ...screening.failed,
    ...lost,
    ...(current.rejected === null ? [] : [current.rejected]),
  ];
  return all.map(({ config, reason }) => ({ config, reason }));
}

/** What comes nearest when nothing fits: the SLO missed by least, else the memory short by least. */
function nearestMiss({ space, screening }: Findings): PlanResult["nearestMiss"] {
  const bySlo = least(screening.missed, (m) => m.margin);
  const byMemory = least(
    space.rejected.filter((r) => r.missingBytes > 0),
    (r) => r.missingBytes,
  );
  const nearest = bySlo ?? byMemory ?? screening.failed[0] ?? space.rejected[0];
  return nearest === undefined ? null : { config: nearest.config, reason: nearest.reason };
}

/** The first of the items with the smallest figure. */
function least<T>(items: readonly T[], figure: (item: T) => number): T | undefined {
  let best: T | undefined;
  for (const item of items) if (best === undefined || figure(item) < figure(best)) best = item;
  return best;
}

/** `TTFT p90 <= 2 s`. */
function sloTermText(term: SloTerm): string {
  const share = term.metric === "fluidity" || term.metric === "fluidityShare";
  return share
    ? `${sloName(term)} ≥ ${formatPercent(term.limit)}`
    : `${sloName(term)} ≤ ${formatSeconds(term.limit)}`;
}
