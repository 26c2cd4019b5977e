/**
 * The stall model against jobs that run: 1 and 2 cores, 20 to 100 % cached, three speeds of (emulated) storage. About
 * three minutes: `node tools/bench.mjs data-stall-model --processes=1`. MILLRACE_BENCH_ITEMS makes it smaller.
 */
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeJpegSet } from "@millrace/data";
import { modelAccuracy, telling } from "@millrace/data/experiments";
import { median, report } from "./harness.ts";

const items = Number(process.env["MILLRACE_BENCH_ITEMS"] ?? 1500);
const dataset = join(tmpdir(), `millrace-bench-${process.pid}`);
try {
  makeJpegSet(dataset, { count: items });
  const { points, rates, ingestionRate } = await modelAccuracy({
    dataset,
    items,
    cores: [1, 2],
    shares: [0.2, 0.4, 0.6, 0.8, 1],
    storages: [{ bytesPerSecond: 20e6 }, { bytesPerSecond: 50e6 }, { bytesPerSecond: 150e6 }],
    speedOverPrep: 1.5,
    seed: 1,
  });
  for (const { cores, samplesPerSecond } of rates.prep)
    report(`prep rate, ${cores} cores`, samplesPerSecond.value, "samples/s");
  report("accelerator", ingestionRate, "samples/s");
  for (const point of points)
    console.error(
      `${point.cores} cores ${point.share} cached ${point.storage.bytesPerSecond / 1e6} MB/s: ${point.predicted.toFixed(1)} predicted, ${point.measured.toFixed(1)} measured, ${(100 * point.error).toFixed(1)} % (${point.bottleneck}, ${(100 * point.stalled).toFixed(0)} % stalled)`,
    );
  const waiting = telling(points);
  report("jobs whose accelerator waits", waiting.length, `of ${points.length}`);
  const errors = waiting.map(({ error }) => 100 * Math.abs(error));
  report("predicted throughput, median error", median(errors), "%", 5);
  report("predicted throughput, worst error", Math.max(...errors), "%", 10);
} finally {
  rmSync(dataset, { recursive: true, force: true });
}
