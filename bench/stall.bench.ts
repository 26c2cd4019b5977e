/**
 * Generation stalls (Sarathi-Serve section 3): four requests decode when a prompt of 600 tokens arrives. The longest gap
 * between two tokens of those four, and the time to the newcomer's first token, with chunks of 128 tokens and the decodes on
 * top, against the prefill-first policy vllm-v0; the same engine, switched while idle, interleaved, wall time on one thread.
 * Environment: BENCH_PAIRS (20), BENCH_FORMAT (q8_0).
 */
import { openExperimentEngine, plainPages } from "../packages/engine/src/reproduce/requests.ts";
import { type Arrival, measureArrival } from "../packages/engine/src/reproduce/stall.ts";
import { benchModel, ratio } from "./engine-step.ts";
import { median, report } from "./harness.ts";

const pairs = Number(process.env.BENCH_PAIRS ?? 20);
const format = (process.env.BENCH_FORMAT ?? "q8_0") as "q8_0";
const { signal } = new AbortController();

const engine = await openExperimentEngine({
  modelPath: benchModel("medium", format),
  threads: 1,
  contextTokens: 1024,
  kv: { ...plainPages, memoryBytes: 1024 ** 3 },
});
const ours: Arrival[] = [];
const theirs: Arrival[] = [];
for (let i = -1; i < pairs; i++) {
  const order = i % 2 === 0 ? ["sarathi-serve", "vllm-v0"] : ["vllm-v0", "sarathi-serve"];
  for (const type of order) {
    await engine.switchScheduler(type, { chunkSize: 128 });
    const arrival = await measureArrival(engine, { decodes: 4, prompt: 600, seed: i + 2, signal });
    if (i >= 0) (type === "vllm-v0" ? theirs : ours).push(arrival);
  }
}
await engine.close();

for (const [what, key, bar] of [
  ["longest decode gap", "gap", 0.25],
  ["time to first token", "ttft", 1.08],
] as const) {
  const a = ours.map((arrival) => arrival[key]);
  const b = theirs.map((arrival) => arrival[key]);
  report(`${what}, sarathi-serve 128`, median(a), "ms");
  report(`${what}, vllm-v0`, median(b), "ms");
  const { median: middle, upper } = ratio(a, b);
  report(`${what}: median ratio`, middle, "");
  report(`${what}: upper bound of the ratio`, upper, "", bar);
}
