/** Sarathi-Serve (OSDI 2024) on the engine: stalls of running requests when a long prompt arrives, policy by policy. */
import type { ReproduceOptions, ReproduceRow } from "@millrace/core";
import { type Experiment, ratios, withExperiment } from "./experiment.ts";
import { openExperimentEngine, plainPages } from "./requests.ts";
import { type Arrival, measureArrival } from "./stall.ts";

const decodes = 4;
const prompt = 600;
const policies = [
  { name: "vllm-v0", type: "vllm-v0", chunkSize: 128 },
  { name: "orca", type: "orca", chunkSize: 128 },
  { name: "sarathi-serve, budget 512", type: "sarathi-serve", chunkSize: 512 },
  { name: "sarathi-serve, budget 128", type: "sarathi-serve", chunkSize: 128 },
  { name: "sarathi-serve, budget 64", type: "sarathi-serve", chunkSize: 64 },
] as const;

/** Measured rows of the paper. Rejects with MillraceError, or with the signal's reason. */
export function measureSarathiServe(options: ReproduceOptions): Promise<readonly ReproduceRow[]> {
  return withExperiment(options, 200, run);
}

async function run(x: Experiment): Promise<void> {
  const engine = await openExperimentEngine({
    modelPath: x.modelPath,
    threads: 1,
    contextTokens: 1024,
    kv: { ...plainPages, memoryBytes: 512 * 1024 ** 2 },
  });
  try {
    const results = policies.map((): Arrival[] => []);
    for (let round = -1; round < x.scale.rounds; round++) {
      const order = policies.map((_, i) => (round % 2 === 0 ? i : policies.length - 1 - i));
      for (const i of order) {
        const { type, chunkSize, name } = policies[i] as (typeof policies)[number];
        await engine.switchScheduler(type, { chunkSize });
        const seed = x.seed + 100 * (round + 1);
        const arrival = await measureArrival(engine, { decodes, prompt, seed, signal: x.signal });
        if (round >= 0) results[i]?.push(arrival);
        x.step(`${name}, round ${round + 1}`);
      }
    }
    const note = `${x.scale.title}, ${x.scale.format}, one thread, wall time; ${decodes} requests decode when a prompt of ${prompt} tokens arrives, chunks with the decodes on top`;
    policies.forEach(({ name }, i) => {
      const gaps = (results[i] ?? []).map(({ gap }) => gap);
      x.add(`longest gap between tokens of running requests: ${name}`, gaps, "ms", note);
    });
    policies.forEach(({ name }, i) => {
      const ttft = (results[i] ?? []).map((arrival) => arrival.ttft);
      x.add(`time to the newcomer's first token: ${name}`, ttft, "ms", note);
    });
    const [v0 = []] = results;
    const small =
      results[
        policies.findIndex(({ chunkSize, type }) => type === "sarathi-serve" && chunkSize === 128)
      ] ?? [];
    const gaps = (list: readonly Arrival[]) => list.map(({ gap }) => gap);
    x.add(
      "longest gap, vllm-v0 / sarathi-serve with budget 128",
      ratios(gaps(v0), gaps(small)),
      "x",
      note,
    );
  } finally {
    await engine.close();
  }
}
