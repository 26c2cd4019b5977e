/** From a finished run to `millrace.simulate/1`. */
import {
  goodput,
  type LatencySeconds,
  type MetricsRecorder,
  type RequestTable,
  summarizeServing,
} from "@millrace/serving";
import type { VirtualBackend } from "../fleet/virtual-backend.ts";
import type { LatencySummary, SimulationConfig, SimulationSummary } from "../types.ts";
import { checkSlo } from "./slo.ts";

export interface FinishedRun {
  readonly config: SimulationConfig;
  readonly requests: RequestTable;
  readonly recorder: MetricsRecorder;
  /** Time of the last event, seconds. */
  readonly endedAt: number;
  readonly backends: readonly VirtualBackend[];
  readonly kv: SimulationSummary["kv"];
  readonly extrapolatedSteps: number;
  readonly unfitted: readonly string[];
}

const ms = (l: LatencySeconds): LatencySummary => ({
  mean: l.mean * 1e3,
  p50: l.p50 * 1e3,
  p90: l.p90 * 1e3,
  p99: l.p99 * 1e3,
  max: l.max * 1e3,
});

export function summarizeRun(run: FinishedRun): SimulationSummary {
  const { config, requests, recorder, endedAt } = run;
  const metrics = recorder.requests;
  const s = summarizeServing(requests, metrics, recorder.tbt, endedAt);
  const totals = recorder.totals(endedAt);
  const slo = checkSlo(config.slo, requests, metrics, recorder.tbt, s.fluidity);
  const limit = (metric: string): number | undefined =>
    config.slo.find((t) => t.metric === metric)?.limit;
  const ttft = limit("ttft");
  const tbt = limit("tbt");
  const stages = config.pipelineParallel;
  const busy = Array.from({ length: stages }, (_, stage) => {
    let sum = 0;
    for (const b of run.backends) sum += b.stageBusy[stage]!;
    return endedAt > 0 ? sum / (run.backends.length * endedAt) : 0;
  });
  let bubble = 0;
  let working = 0;
  for (const b of run.backends) {
    bubble += b.bubbleSeconds;
    working += b.workingSeconds * stages;
  }
  const peak =
    config.device.tflops * 1e12 * config.tensorParallel * config.pipelineParallel * config.replicas;
  return {
    schema: "millrace.simulate/1",
    requests: requests.count,
    completed: s.completed,
    rejected: s.rejected,
    unfinished: s.unfinished,
    batches: totals.batches,
    simulatedSeconds: endedAt,
    throughput: s.throughput,
    goodput:
      ttft === undefined && tbt === undefined
        ? null
        : goodput(
            requests,
            metrics,
            {
              ...(ttft === undefined ? {} : { ttft }),
              ...(tbt === undefined ? {} : { tbt, tbtShare: 0.99 }),
            },
            endedAt,
          ),
    ttftMs: ms(s.ttft),
    tbtMs: ms(s.tbt),
    tpotMs: ms(s.tpot),
    e2eMs: ms(s.e2e),
    normalizedLatencyMs: ms(s.normalizedLatency),
    schedulingDelayMs: ms(s.schedulingDelay),
    preemptionMs: ms(s.preemption),
    fluidity: {
      index: s.fluidity.index,
      missRate: s.fluidity.missRate,
      shareAbove90: s.fluidity.shareAbove90,
      onTimeShare: s.fluidity.onTimeShare,
    },
    restarts: s.restarts,
    batch: {
      meanRows: totals.batches > 0 ? totals.rows / totals.batches : 0,
      meanTokens: totals.batches > 0 ? totals.tokens / totals.batches : 0,
      maxRows: totals.maxRows,
    },
    utilization: {
      mfu: endedAt > 0 ? totals.flops / (peak * endedAt) : 0,
      kvUsed: totals.kvUsed,
      stageBusy: busy,
      bubbles: working > 0 ? bubble / working : 0,
    },
    classes: s.classes.map((c) => ({
      name: c.name,
      requests: c.requests,
      ttftMs: ms(c.ttft),
      e2eMs: ms(c.e2e),
    })),
    kv: run.kv,
    slo,
    flags: { extrapolatedSteps: run.extrapolatedSteps, unfitted: run.unfitted },
    seed: config.seed,
  };
}
