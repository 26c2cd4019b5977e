/**
 * The 1,000-request reference run (Qwen2-7B on A30, Sarathi-Serve, Vidur's own tables): CPU time of the loop in a fresh
 * process and warm, with all metrics. Vidur needs 1,965 CPU ms without metrics for the same run. Needs the reference
 * data beside the checkout; says so and prints nothing where it is absent.
 */
import { existsSync, readFileSync } from "node:fs";
import { MetricsRecorder, readTraceCsv } from "@millrace/serving";
import { createCostModel, createFleet, findDevice, findModel, runFleet } from "@millrace/sim";
import { readPredictorSource } from "@millrace/sim/node";
import { benchConfig } from "./fleet.ts";
import { cpuMs, median, report } from "./harness.ts";

const data = new URL("../../shared/data/vidur/", import.meta.url).pathname;
if (!existsSync(data)) {
  console.error("reference.bench: no reference data beside the checkout; skipped");
  process.exit(0);
}

/** A fixed piece of arithmetic: when its time spreads between processes, so does the speed of the machine. */
function fixedLoop(): number {
  let x = 1;
  for (let i = 0; i < 20_000_000; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
  }
  return x;
}
if (fixedLoop() === 0) throw new Error("xorshift never reaches 0");
report(
  "a fixed loop, to see how even the machine was: CPU",
  median(Array.from({ length: 9 }, () => cpuMs(fixedLoop))),
  "ms",
);

const trace = `${data}traces/trace_q2.0_n1000.csv`;
const requests = readTraceCsv(readFileSync(trace, "utf8"), trace);
for (const type of ["sarathi-serve", "vllm-v0"] as const) {
  const base = benchConfig(type, "paged", 1, 48);
  const config = {
    ...base,
    model: findModel("Qwen/Qwen2-7B"),
    device: findDevice("a30"),
    compatibility: "vidur" as const,
    scheduler: { ...base.scheduler, maxTokensInBatch: 4096, maxRequestTokens: 4096 },
    predictor: { type: "vidur-tables" as const, path: `${data}tables`, prefix: "default" },
  };
  const cost = createCostModel(
    config,
    await readPredictorSource(config.predictor, config.device.name),
  );
  const times: number[] = [];
  let batches = 0;
  let rows = 0;
  for (let i = 0; i < 15; i++) {
    const recorder = new MetricsRecorder(requests, { ttftTarget: 1, tbtTarget: 0.1 });
    const fleet = createFleet(
      config,
      requests,
      { blocks: 11_008, blockTokens: 16 },
      cost,
      (r, kv) => recorder.forReplica(r, kv),
    );
    times.push(
      cpuMs(() =>
        runFleet({
          requests,
          replicas: fleet.replicas,
          heap: fleet.heap,
          router: { route: () => 0 },
          rejected: (r) => recorder.rejected(r),
        }),
      ),
    );
    batches = recorder.totals().batches;
    rows = recorder.totals().rows;
  }
  // The second scheduler of the process starts with a warm loop: only the first is cold.
  if (type === "sarathi-serve") report(`${type}: cold, CPU`, times[0] ?? Number.NaN, "ms", 120);
  const warm = median(times.slice(3));
  report(`${type}: warm, CPU`, warm, "ms", 15);
  report(
    `${type}: warm, per batch of ${(rows / batches).toFixed(1)} rows`,
    (warm * 1e6) / batches,
    "ns",
  );
}
