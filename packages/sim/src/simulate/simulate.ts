/**
 * One run of a deployment: a fleet serves a table of requests, and everything people ask about it is returned.
 * Synchronous and deterministic: the same configuration, requests and seed give the same bytes.
 */
import { Rng } from "@millrace/core";
import {
  createRouter,
  MetricsRecorder,
  type ReplicaObserver,
  type RequestTable,
  type StepCostModel,
} from "@millrace/serving";
import { createFleet, type KvGeometry } from "../fleet/create-fleet.ts";
import { runFleet } from "../fleet/run-fleet.ts";
import type { VirtualBackend } from "../fleet/virtual-backend.ts";
import type { SimulationConfig, SimulationResult } from "../types.ts";
import { flopsOfModel } from "./flops.ts";
import { MappingMeter } from "./mapping-meter.ts";
import { summarizeRun } from "./summarize.ts";
import { TimelineRecorder } from "./timeline.ts";

export interface SimulateOptions {
  readonly costModel: StepCostModel & {
    readonly extrapolatedSteps?: number;
    readonly unfitted?: readonly string[];
  };
  /** What the KV cache of a replica holds; see `planMemory`. */
  readonly geometry: KvGeometry;
  /** Keep one row per batch. */
  readonly timeline?: boolean;
  /** Watches every replica beside the metrics, e.g. a trace writer. */
  readonly observe?: (replica: number, backend: VirtualBackend) => ReplicaObserver;
  /** Asked every few hundred events with the live recorder; true ends the run early. */
  readonly stop?: (now: number, recorder: MetricsRecorder) => boolean;
  /** Simulated seconds after which the run is cut; default unbounded. */
  readonly limitSeconds?: number;
  /** Calls the event loop, without what comes before and after it; for timing. */
  readonly around?: <T>(loop: () => T) => T;
}

/** Observers in a row, called in order. */
function chain(observers: readonly ReplicaObserver[]): ReplicaObserver {
  if (observers.length === 1) return observers[0]!;
  return {
    planned: (plan, table, endsAt) => {
      for (const o of observers) o.planned(plan, table, endsAt);
    },
    completed: (plan, outcome, table, now) => {
      for (const o of observers) o.completed(plan, outcome, table, now);
    },
  };
}

export function simulate(
  config: SimulationConfig,
  requests: RequestTable,
  options: SimulateOptions,
): SimulationResult {
  const tbtTerm = config.slo.find((t) => t.metric === "tbt");
  const recorder = new MetricsRecorder(requests, {
    ttftTarget: config.fluidity.ttft,
    tbtTarget: config.fluidity.tbt,
    ...(tbtTerm === undefined ? {} : { tbtLimit: tbtTerm.limit }),
    flopsOf: flopsOfModel(config.model),
  });
  const timeline = options.timeline === true ? new TimelineRecorder(config.pipelineParallel) : null;
  const mapping = new MappingMeter();
  const fleet = createFleet(
    config,
    requests,
    options.geometry,
    options.costModel,
    (r, kv, backend) => {
      const observers = [recorder.forReplica(r, kv)];
      const mapper = mapping.watch(kv);
      if (mapper !== null) observers.push(mapper);
      if (timeline !== null)
        observers.push(timeline.observer(r, kv, backend, () => fleet.replicas[r]!.scheduler));
      if (options.observe !== undefined) observers.push(options.observe(r, backend));
      return chain(observers);
    },
  );
  const routing =
    config.compatibility === "vidur" && config.routing === "least-outstanding"
      ? "lor"
      : config.routing;
  const router = createRouter(routing, {
    replicas: config.replicas,
    rng: new Rng(config.seed).fork("routing"),
    outstandingTokens: (r) => fleet.replicas[r]!.outstandingTokens,
    waitingRequests: (r) => fleet.replicas[r]!.scheduler.waiting,
  });
  const { stop } = options;
  const loop = () =>
    runFleet({
      requests,
      replicas: fleet.replicas,
      heap: fleet.heap,
      router,
      background: config.kv.type === "vattention",
      rejected: (request) => recorder.rejected(request),
      ...(stop === undefined ? {} : { stop: (now: number) => stop(now, recorder) }),
      ...(options.limitSeconds === undefined ? {} : { limitSeconds: options.limitSeconds }),
    });
  const end = options.around === undefined ? loop() : options.around(loop);
  return {
    config,
    requests,
    perRequest: recorder.requests,
    summary: summarizeRun({
      config,
      requests,
      recorder,
      endedAt: end.endedAt,
      backends: fleet.backends,
      kv: {
        blocks: options.geometry.blocks,
        blockTokens: options.geometry.blockTokens,
        mappedPages: mapping.mappedPages,
        fragmentation: mapping.fragmentation,
      },
      extrapolatedSteps: options.costModel.extrapolatedSteps ?? 0,
      unfitted: options.costModel.unfitted ?? [],
    }),
    timeline: timeline?.finish() ?? null,
    tbtQuantiles: recorder.tbt.count === 0 ? new Float64Array(0) : recorder.tbt.quantiles(201),
  };
}
