/**
 * The loop core: CPU time per batch as a line over the rows of the batch, without and with metrics, after all schedulers
 * and KV managers have run in the same process (as they do in a plan); and bytes allocated per batch.
 */
import { benchConfig, prepare, randomRequests, steadyRequests } from "./fleet.ts";
import { cpuMs, line, median, report } from "./harness.ts";

const types = [
  "vllm-v1",
  "vllm-v0",
  "sarathi-serve",
  "sarathi",
  "simple-chunking",
  "orca",
  "faster-transformer",
  "lightllm",
] as const;
const kvs = ["paged", "static", "vattention"] as const;
const geometry = {
  paged: { blocks: 40_000, blockTokens: 16 },
  static: { blocks: 512, blockTokens: 1 << 20 },
  vattention: { blocks: 20_000, blockTokens: 64 },
} as const;

const mixed = randomRequests(300, 2, 1);
for (let round = 0; round < 3; round++) {
  for (const type of types)
    for (const kv of kvs)
      prepare(benchConfig(type, kv), mixed, { metrics: true, ...geometry[kv] }).cpu();
}

const rowCounts = [1, 4, 16, 64, 256];
for (const metrics of [false, true]) {
  const points: [number, number][] = [];
  for (const rows of rowCounts) {
    const steps = Math.max(2_000, Math.floor(600_000 / (rows + 8)));
    const requests = steadyRequests(rows, steps, rows);
    const perBatch: number[] = [];
    for (let i = 0; i < 5; i++) {
      const run = prepare(benchConfig("vllm-v1", "paged", 1, 256), requests, {
        metrics,
        ...geometry.paged,
      });
      const ms = cpuMs(run.cpu);
      perBatch.push((ms * 1e6) / steps);
    }
    points.push([rows, median(perBatch)]);
    report(
      `CPU per batch of ${rows} rows${metrics ? ", with metrics" : ""}`,
      median(perBatch),
      "ns",
      200 + rows * (metrics ? 80 : 50),
    );
  }
  const { base, slope } = line(points);
  report(`line: per row${metrics ? ", with metrics" : ""}`, slope, "ns", metrics ? 80 : 50);
  report(`line: per batch${metrics ? ", with metrics" : ""}`, base, "ns", 200);
}

/** Heap bytes and batches of one run. The KV cache holds all sequences: a preemption would add batches of its own. */
function allocated(rows: number, steps: number): { bytes: number; batches: number } {
  const run = prepare(benchConfig("vllm-v1", "paged", 1, 256), steadyRequests(rows, steps, rows), {
    metrics: true,
    blocks: 600_000,
    blockTokens: 16,
  });
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  run.cpu();
  const bytes = process.memoryUsage().heapUsed - before;
  return { bytes, batches: run.recorder.totals().batches };
}

// The difference of a long and a short run is what a batch costs once the loop is compiled.
for (const rows of rowCounts) {
  const differences = Array.from({ length: 5 }, () => {
    const short = allocated(rows, 4_000);
    const long = allocated(rows, 20_000);
    return (long.bytes - short.bytes) / (long.batches - short.batches);
  });
  report(`bytes allocated per batch of ${rows} rows, with metrics`, median(differences), "B", 64);
}
