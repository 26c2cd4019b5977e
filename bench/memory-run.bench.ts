/**
 * Training in less memory, for real (MONeT section 6): a small residual network and a Llama-style decoder train under a
 * plan and, step by step in turn, keeping everything with the fastest implementations. Ratio of activation memory (beyond
 * parameters, optimizer state and inputs), median ratio of step times, predicted against measured step time, peak and
 * growth of the process, counted from before plan and memory are in it. Environment: BENCH_STEPS (12), BENCH_MODELS
 * (resnet,llama), BENCH_SHARE (0.48), BENCH_THREADS (1), BENCH_MEASURE (0.05 s for each implementation).
 */
import {
  buildModel,
  medianOf,
  optimizers,
  prepareRun,
  syntheticBatch,
  trainUnder,
} from "@millrace/remat";
import { report } from "./harness.ts";

const steps = Number(process.env.BENCH_STEPS ?? 12);
const share = Number(process.env.BENCH_SHARE ?? 0.48);
const threads = Number(process.env.BENCH_THREADS ?? 1);
const measureSeconds = Number(process.env.BENCH_MEASURE ?? 0.05);
const wanted = (process.env.BENCH_MODELS ?? "resnet,llama").split(",");

const subjects = {
  resnet: { graph: buildModel("resnet-small", { batch: 64 }), optimizer: optimizers.sgd },
  llama: {
    graph: buildModel("llama-small", {
      batch: 8,
      tokens: 128,
      layers: 4,
      width: 256,
      heads: 8,
      keyHeads: 4,
      feedForward: 704,
      vocabulary: 1024,
      dropout: 0.1,
    }),
    optimizer: optimizers.adamw,
  },
} as const;

for (const name of wanted) {
  const { graph, optimizer } = subjects[name as keyof typeof subjects];
  const run = await prepareRun({
    graph,
    threads,
    optimizer,
    budget: { activationShare: share },
    effort: "low",
    seed: 1,
    measureSeconds,
  });
  const [planned, kept] = await trainUnder([run.plan, run.keepAll.plan], {
    graph,
    table: run.table,
    optimizer,
    seed: 1,
    steps,
    batch: (step) => syntheticBatch(graph, 1, step),
  });
  if (planned === undefined || kept === undefined) throw new Error("a plan did not run");
  const { fixed } = run.problem;
  const ratios = planned.stepSeconds.map((s, i) => s / (kept.stepSeconds[i] as number));
  const ms = (seconds: number): number => 1000 * seconds;
  const mib = (bytes: number): number => bytes / 2 ** 20;
  const title = `${name}, ${threads} threads, n ${ratios.length}`;
  report(`${title}: activation memory of keeping everything`, mib(kept.peakBytes - fixed), "MiB");
  report(`${title}: activation memory under the plan`, mib(planned.peakBytes - fixed), "MiB");
  report(
    `${title}: full over planned, reciprocal`,
    (planned.peakBytes - fixed) / (kept.peakBytes - fixed),
    "",
    0.5,
  );
  report(`${title}: step keeping everything`, ms(medianOf(kept.stepSeconds)), "ms");
  report(`${title}: step under the plan`, ms(medianOf(planned.stepSeconds)), "ms");
  report(`${title}: median ratio of steps`, medianOf(ratios), "", 1.15);
  report(`${title}: least ratio of steps`, Math.min(...ratios), "");
  report(`${title}: largest ratio of steps`, Math.max(...ratios), "");
  for (const [what, r] of [
    ["planned", planned],
    ["keeping everything", kept],
  ] as const) {
    const off = Math.abs(r.predictedSeconds / medianOf(r.stepSeconds) - 1);
    report(`${title}: predicted step off, ${what}`, off, "", 0.15);
    report(`${title}: predicted peak off, ${what}`, r.predictedPeakBytes - r.peakBytes, "bytes", 0);
    report(`${title}: memory over peak, ${what}`, r.arenaBytes / r.peakBytes, "", 1.05);
    if (r.residentGrowthBytes !== null)
      report(
        `${title}: process beyond its plan, ${what}`,
        mib(r.residentGrowthBytes - r.predictedPeakBytes),
        "MiB",
        8,
      );
  }
  if (run.result.gap !== null) report(`${title}: gap of the plan`, run.result.gap, "");
  report(`${title}: recomputed operators`, run.predicted.recomputations, "");
}
