/**
 * Generation stalls (Sarathi-Serve section 3): four requests decode when a prompt of 600 tokens arrives. The longest gap
 * between two tokens of those four, and the time to the newcomer's first token, with chunks of 128 tokens and the decodes on
 * top, against the prefill-first policy vllm-v0; the same engine, switched while idle, interleaved, wall time on one thread.
 * Environment: BENCH_PAIRS (20), BENCH_FORMAT (q8_0).
 */
import { benchEngine, benchRequest, follow } from "./engine-requests.ts";
import { benchModel, ratio } from "./engine-step.ts";
import { median, report } from "./harness.ts";

const pairs = Number(process.env.BENCH_PAIRS ?? 20);
const format = (process.env.BENCH_FORMAT ?? "q8_0") as "q8_0";
const promptTokens = 600;
const decodes = 4;

const engine = await benchEngine({
  modelPath: benchModel("medium", format),
  threads: 1,
  contextTokens: 1024,
  kv: {
    type: "vattention",
    backend: "auto",
    memoryBytes: 1024 ** 3,
    layout: "per-layer",
    blockTokens: 16,
    prefixSharing: false,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 4,
  },
});
const { vocabularySize } = engine.card;
let seed = 0;

interface Outcome {
  /** Longest gap of a decode that overlaps the newcomer's prefill, ms. */
  readonly gap: number;
  /** From the newcomer's arrival to its first token, ms. */
  readonly ttft: number;
}

async function arrival(type: string): Promise<Outcome> {
  await engine.switchScheduler(type, { chunkSize: 128 });
  const leave = new AbortController();
  const times = Array.from({ length: decodes }, (): number[] => []);
  let running = 0;
  let warm: () => void;
  const allRun = new Promise<void>((resolve) => {
    warm = resolve;
  });
  const streams = times.map((at) => {
    const request = benchRequest(64, 400, ++seed, vocabularySize);
    return follow(engine.generate(request, leave.signal), (_, time) => {
      at.push(time);
      if (at.length === 8 && ++running === decodes) warm();
    });
  });
  await allRun;
  const arrivedAt = Math.max(...times.map((at) => at.at(-1) as number));
  let first = 0;
  const newcomer = benchRequest(promptTokens, 4, ++seed, vocabularySize);
  await follow(engine.generate(newcomer, leave.signal), (_, time) => {
    first ||= time;
  });
  leave.abort();
  await Promise.all(streams);
  const gaps = times.flatMap((at) =>
    at.slice(1).flatMap((time, i) => {
      const before = at[i] as number;
      return time > arrivedAt && before < first ? [time - before] : [];
    }),
  );
  return { gap: 1e3 * Math.max(...gaps), ttft: 1e3 * (first - arrivedAt) };
}

const ours: Outcome[] = [];
const theirs: Outcome[] = [];
for (let i = -1; i < pairs; i++) {
  const order = i % 2 === 0 ? ["sarathi-serve", "vllm-v0"] : ["vllm-v0", "sarathi-serve"];
  for (const type of order) {
    const outcome = await arrival(type);
    if (i >= 0) (type === "vllm-v0" ? theirs : ours).push(outcome);
  }
}
await engine.close();

for (const [what, key, bar] of [
  ["longest decode gap", "gap", 0.25],
  ["time to first token", "ttft", 1.08],
] as const) {
  const a = ours.map((outcome) => outcome[key]);
  const b = theirs.map((outcome) => outcome[key]);
  report(`${what}, sarathi-serve 128`, median(a), "ms");
  report(`${what}, vllm-v0`, median(b), "ms");
  const { median: middle, upper } = ratio(a, b);
  report(`${what}: median ratio`, middle, "");
  report(`${what}: upper bound of the ratio`, upper, "", bar);
}
