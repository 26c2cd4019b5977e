/**
 * Memory of the KV cache: what the process occupies for 32 sequences of 4,096 tokens when 5 % and 0.8 % of them are in use,
 * against libllama's context on the same file; what mapping a page group costs; pages mapped while a decode waits; and
 * whether 10,000 requests leave memory behind. Occupied = anonymous + shared pages (RssAnon + RssShmem): weights are mapped
 * from their file. Environment: BENCH_REQUESTS (10000).
 */
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { LlamaBatch, LlamaContext, LlamaModel } from "@millrace/ggml/llama";
import { KvOrders, ORDER_MAP, ORDER_UNMAP } from "@millrace/serving";
import { createKvMemory } from "../packages/engine/src/kv-memory/index.ts";
import { engineModule, startEngine } from "../packages/engine/src/process/index.ts";
import {
  experimentEngine,
  follow,
  openExperimentEngine,
  plainPages,
  randomRequest,
  startAll,
} from "../packages/engine/src/reproduce/requests.ts";
import { benchModel, tokens } from "./engine-step.ts";
import { cpuMs, median, report } from "./harness.ts";

const sequences = 32;
const sequenceTokens = 4096;
const path = benchModel("medium", "q8_0");
const never = new AbortController().signal;
setMaxListeners(0, never);

/** Bytes that a process occupies beside files; this one's garbage is collected first. */
function occupied(process: number | "self" = "self"): number {
  if (process === "self") globalThis.gc?.();
  const status = readFileSync(`/proc/${process}/status`, "utf8");
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return 1024 * (kib("RssAnon") + kib("RssShmem"));
}

interface Load {
  readonly name: string;
  readonly requests: number;
  readonly prompt: number;
  readonly bar: number;
}
const loads: readonly Load[] = [
  { name: "0.8 %", requests: 8, prompt: 128, bar: 1 / 60 },
  { name: "5 %", requests: 16, prompt: 400, bar: 1 / 15 },
];

/** Growth of our engine with the requests running, and the bytes of the pages that hold their K and V. */
async function ourGrowth(load: Load): Promise<{ all: number; pages: number }> {
  const engine = await openExperimentEngine({
    modelPath: path,
    threads: 2,
    contextTokens: sequenceTokens,
    kv: { ...plainPages, memoryBytes: 2 * 1024 ** 3 },
  });
  const before = occupied();
  const requests = Array.from({ length: load.requests }, (_, seed) =>
    randomRequest(load.prompt, 400, seed, engine.card.vocabularySize),
  );
  const running = await startAll(engine, requests, never);
  const all = occupied() - before;
  const { kvGroupsMapped, kvGroupBytes } = await engine.stats();
  await running.stop();
  await engine.close();
  return { all, pages: kvGroupsMapped * kvGroupBytes };
}

/** Growth by libllama's context with the same prompts computed in it. */
async function theirGrowth({ requests, prompt }: Load): Promise<number> {
  using model = new LlamaModel(path);
  const before = occupied();
  using context = new LlamaContext(model, {
    sequences,
    sequenceTokens,
    batchTokens: 128,
    threads: 2,
    flashAttention: "on",
  });
  for (let sequence = 0; sequence < requests; sequence++) {
    const ids = tokens(prompt, sequence, model.vocabulary.size);
    for (let from = 0; from < prompt; from += 128) {
      const batch = new LlamaBatch(128);
      const chunk = ids.slice(from, from + 128);
      for (const [i, id] of chunk.entries())
        batch.add(id, from + i, sequence, from + i === prompt - 1);
      await context.decodeAsync(batch);
    }
  }
  return occupied() - before;
}

const mib = 1024 ** 2;
for (const load of loads) {
  const ours = await ourGrowth(load);
  const theirs = await theirGrowth(load);
  report(`occupied at ${load.name}: libllama's context`, theirs / mib, "MiB");
  report(`occupied at ${load.name}: our K and V`, ours.pages / mib, "MiB");
  report(`occupied at ${load.name}: ours, with intermediate results`, ours.all / mib, "MiB");
  report(`occupied at ${load.name}: K and V / context`, ours.pages / theirs, "", load.bar);
  report(`occupied at ${load.name}: ours with all / context`, ours.all / theirs, "");
}

const geometry = { slots: sequences, slotTokens: sequenceTokens, layers: 12, tokenBytes: 512 };
for (const backend of ["memfd", "madvise"] as const)
  for (const pageBytes of [4096, 65536, 2 * mib]) {
    const groups = pageBytes > mib ? 4 : 32;
    const costs: number[] = [];
    for (let round = 0; round < 20; round++) {
      using memory = createKvMemory(geometry, { backend, pageBytes, layout: "per-layer", groups });
      const orders = new KvOrders();
      const unmaps = new KvOrders();
      const pagesOfSlot = Math.floor(memory.slotStride / pageBytes);
      for (let group = 0; group < groups; group++) {
        const slot = Math.floor(group / pagesOfSlot);
        orders.push(ORDER_MAP, slot, group % pagesOfSlot, group, group);
      }
      for (let group = groups - 1; group >= 0; group--) {
        const slot = Math.floor(group / pagesOfSlot);
        unmaps.push(ORDER_UNMAP, slot, group % pagesOfSlot, group, groups + group);
      }
      costs.push((1e3 * cpuMs(() => memory.carryOut(orders))) / (groups * 24));
      memory.carryOut(unmaps);
    }
    report(`CPU of mapping a page, ${backend}, ${pageBytes / 1024} KiB`, median(costs), "us");
  }

{
  const engine = await openExperimentEngine({
    modelPath: benchModel("small", "q8_0"),
    threads: 1,
    contextTokens: 2048,
    kv: { ...plainPages, memoryBytes: 512 * mib },
  });
  const requests = Array.from({ length: 24 }, (_, seed) =>
    follow(
      engine.generate(
        randomRequest(30 + 11 * (seed % 13), 300, seed, engine.card.vocabularySize),
        never,
      ),
    ),
  );
  await Promise.all(requests);
  const { kvMappedInDecode, kvMappedAhead } = await engine.stats();
  report("page groups mapped ahead of 7,200 decoded tokens", kvMappedAhead, "");
  report("page groups that a decode waited for", kvMappedInDecode, "", 0);
  await engine.close();
}

{
  // In a process of its own, as it is served: V8 keeps more room the more it is allowed to.
  const total = Number(process.env.BENCH_REQUESTS ?? 10_000);
  const options = experimentEngine({
    modelPath: benchModel("tiny", "q8_0"),
    threads: 1,
    contextTokens: 512,
    kv: { ...plainPages, memoryBytes: 32 * mib, prefixSharing: true },
  });
  const engine = await startEngine(options, { module: engineModule });
  const points: [number, number][] = [];
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < total) {
      const seed = next++;
      const tokens = 8 + ((seed * 7) % 90);
      const request = randomRequest(tokens, 4 + (seed % 9), seed, engine.card.vocabularySize);
      await follow(engine.generate(request, never));
      if (seed % (total / 100) === 0) points.push([seed, occupied(engine.pid ?? "self")]);
    }
  };
  await Promise.all(Array.from({ length: 32 }, client));
  await engine.close();
  // The first fifth warms up: code is compiled, pools and scratch reach their size.
  const level = (from: number, to: number): number =>
    median(points.slice(points.length * from, points.length * to).map(([, bytes]) => bytes)) / mib;
  const [early, late] = [level(0.2, 0.4), level(0.8, 1)];
  report(`occupied in the second fifth of ${total} requests`, early, "MiB");
  report(`occupied in the last fifth of ${total} requests`, late, "MiB");
  report("growth from the second fifth to the last", late / early - 1, "", 0.02);
}
