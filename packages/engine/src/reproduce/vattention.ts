/** vAttention (ASPLOS 2025) on the engine: what pages on demand save and cost, beside paged and static memory. */
import type { ReproduceOptions, Reproduction } from "@millrace/core";
import { KvOrders, ORDER_MAP, ORDER_UNMAP } from "@millrace/serving";
import type { EngineClient, EngineKvOptions, KvGeometry } from "../contracts.ts";
import { openGgmlExecutor } from "../executor/ggml/index.ts";
import { createKvMemory, kvLayout, pagesCanBeMapped } from "../kv-memory/index.ts";
import { batchOf, interleaved, type Row, randomTokens } from "./batches.ts";
import { type Experiment, ratios, withExperiment } from "./experiment.ts";
import {
  follow,
  openExperimentEngine,
  plainPages,
  randomRequest,
  requestOf,
  startAll,
} from "./requests.ts";

const mib = 1024 ** 2;
const slots = 32;
const slotTokens = 4096;

/** Rejects with MillraceError SYSTEM_UNSUPPORTED where no pages can be mapped. */
export async function reproduceVattention(options: ReproduceOptions): Promise<Reproduction> {
  const rows = await withExperiment(options, 12, async (x) => {
    await gather(x);
    await occupancy(x);
    if (pagesCanBeMapped()) mapping(x);
    await lookAhead(x);
    await sharing(x);
  });
  return {
    schema: "millrace.reproduce/1",
    paper: "vattention",
    title: "vAttention (ASPLOS 2025): contiguous virtual memory for the KV cache",
    rows,
    unfitted: [],
  };
}

/** Paged memory, whose blocks are gathered before the kernel reads them, against contiguous memory under the same kernel. */
async function gather(x: Experiment): Promise<void> {
  const batch = 16;
  const context = 1024;
  const options = { modelPath: x.modelPath, threads: 1, slots: batch + 1, slotTokens: 2048 };
  using contiguous = await openGgmlExecutor({
    ...options,
    memory: (geometry) =>
      createKvMemory(geometry, {
        backend: "plain",
        pageBytes: 4096,
        layout: "per-layer",
        groups: 0,
      }),
  });
  using paged = await openGgmlExecutor({ ...options, kv: "paged" });
  const { vocabularySize } = contiguous.card;
  const tokens = (n: number, seed: number) => randomTokens(n, `${x.seed}/${seed}`, vocabularySize);
  for (let slot = 0; slot <= batch; slot++) {
    const prompt = batchOf([{ slot, start: 0, tokens: tokens(context, slot) }]);
    for (const executor of [contiguous, paged]) await executor.compute(prompt);
  }
  x.step("prompts are there");
  const decode: Row[] = Array.from({ length: batch }, (_, slot) => ({
    slot,
    start: context,
    tokens: tokens(1, 100 + slot),
  }));
  const prefill: Row[] = [{ slot: batch, start: context, tokens: tokens(256, 200) }];
  const note = `CPU time on one thread, ${x.scale.title}, ${x.scale.format}, context ${context}; paged = blocks of 16 tokens, gathered, then the same attention kernel: no kernel of ggml reads block tables. The paper compares with kernels that do, on an A100`;
  for (const [what, rows, theirs] of [
    [`decode of ${batch} requests, paged / contiguous`, decode, 1.97],
    ["prefill of a chunk of 256 tokens, paged / contiguous", prefill, null],
  ] as const) {
    const batch = batchOf(rows);
    const [apart = [], together = []] = await interleaved(
      [
        { executor: paged, batch },
        { executor: contiguous, batch },
      ],
      x.scale.rounds,
    );
    x.add(what, ratios(apart, together), "x", note, theirs);
    x.step(what);
  }
}

/** Bytes of K and V with part of the cache in use: reserved in full, and page by page. */
async function occupancy(x: Experiment): Promise<void> {
  const note = `${slots} sequences of ${slotTokens} tokens, per-layer pages of 64 KiB, ${x.scale.title}; mapped pages counted while all requests run, pages mapped ahead of need among them`;
  for (const { share, requests, prompt } of [
    { share: "0.8 %", requests: 8, prompt: 128 },
    { share: "5 %", requests: 16, prompt: 400 },
  ]) {
    const engine = await openEngine(x, { memoryBytes: 2 * 1024 * mib, pageBytes: 65_536 });
    try {
      const list = Array.from({ length: requests }, (_, i) =>
        randomRequest(prompt, 200, x.seed + i, engine.card.vocabularySize),
      );
      const running = await startAll(engine, list, x.signal);
      const { kvGroupsMapped, kvGroupBytes } = await engine.stats();
      await running.stop();
      const reserved = kvLayout(geometryOf(engine), 4096, "per-layer").bytes;
      const mapped = kvGroupsMapped * kvGroupBytes;
      x.add(`K and V at ${share} in use: reserved in full`, [reserved / mib], "MiB", note);
      x.add(`K and V at ${share} in use: mapped on demand`, [mapped / mib], "MiB", note);
      x.add(`K and V at ${share} in use: reserved / mapped`, [reserved / mapped], "x", note);
    } finally {
      await engine.close();
    }
    x.step(`${share} in use`);
  }
}

function geometryOf({ card }: EngineClient): KvGeometry {
  return { slots, slotTokens, layers: card.layers, tokenBytes: 2 * card.kvHeads * card.headDim };
}

/** CPU of taking a page and mapping it, by its size. */
function mapping(x: Experiment): void {
  const geometry: KvGeometry = { slots: 4, slotTokens: 65_536, layers: 1, tokenBytes: 512 };
  for (const backend of ["memfd", "madvise"] as const)
    for (const pageBytes of [4096, 65_536, 2 * mib]) {
      const groups = Math.min(256, (32 * mib) / pageBytes);
      const costs: number[] = [];
      for (let round = -1; round < x.scale.rounds; round++) {
        using memory = createKvMemory(geometry, {
          backend,
          pageBytes,
          layout: "per-layer",
          groups,
        });
        const maps = new KvOrders();
        const unmaps = new KvOrders();
        const perSlot = Math.floor(memory.slotStride / pageBytes);
        for (let group = 0; group < groups; group++) {
          const slot = Math.floor(group / perSlot);
          maps.push(ORDER_MAP, slot, group % perSlot, group, group);
          unmaps.push(ORDER_UNMAP, slot, group % perSlot, group, groups + group);
        }
        const before = process.cpuUsage();
        memory.carryOut(maps);
        const { user, system } = process.cpuUsage(before);
        if (round >= 0) costs.push((user + system) / (2 * groups));
        memory.carryOut(unmaps);
      }
      const note =
        "CPU time with the zeroing of the page; memfd pages can be shared, madvise pages cannot. The paper maps pages of a GPU driver: 64 KB in 8 us, 2 MB in 40 us (recalled)";
      x.add(`mapping a page of ${pageBytes / 1024} KiB, ${backend}`, costs, "us", note);
    }
  x.step("pages of several sizes");
}

/** Pages that a decode waits for, with and without look-ahead (section 6.1). */
async function lookAhead(x: Experiment): Promise<void> {
  for (const eagerGroups of [0, 4]) {
    const counts: number[] = [];
    for (let round = 0; round < 3; round++) {
      const engine = await openEngine(x, {
        memoryBytes: 512 * mib,
        pageBytes: 16_384,
        eagerGroups,
        eagerSteps: 10,
      });
      try {
        const list = Array.from({ length: 8 }, (_, i) =>
          randomRequest(50 + 17 * i, 64, x.seed + 10 * round + i, engine.card.vocabularySize),
        );
        await Promise.all(list.map((request) => follow(engine.generate(request, fresh()))));
        counts.push((await engine.stats()).kvMappedInDecode);
      } finally {
        await engine.close();
      }
    }
    x.add(
      `page groups that a decode waited for, ${eagerGroups === 0 ? "mapped when needed" : "mapped ahead while a step computes"}`,
      counts,
      "",
      "8 requests of 64 new tokens, pages of 16 KiB, look-ahead of 10 steps; one run each",
    );
    x.step("look-ahead");
  }
}

/** Prompts that begin alike: computed tokens and time to first token, with and without shared pages. Beyond the paper. */
async function sharing(x: Experiment): Promise<void> {
  const [prefix, tail] = [1024, 32];
  const note = `a prefix of ${prefix} tokens and ${tail} of one's own, one request after the other; pages of the prefix are mapped a second time instead of computed again. Beyond the paper, which leaves sharing to future work`;
  const times: number[][] = [];
  for (const prefixSharing of [false, true]) {
    const engine = await openEngine(x, {
      memoryBytes: 512 * mib,
      pageBytes: 65_536,
      prefixSharing,
      backend: prefixSharing ? "memfd" : "auto",
    });
    try {
      const { vocabularySize } = engine.card;
      const common = randomTokens(prefix, `${x.seed}/prefix`, vocabularySize);
      const ttft: number[] = [];
      for (let i = -1; i < x.scale.rounds; i++) {
        const own = randomTokens(tail, `${x.seed}/tail/${i}`, vocabularySize);
        const from = performance.now();
        let first = 0;
        await follow(
          engine.generate(requestOf([...common, ...own], 2, `shared-${i}`), fresh()),
          () => {
            first ||= performance.now() - from;
          },
        );
        if (i >= 0) ttft.push(first);
        x.signal.throwIfAborted();
      }
      times.push(ttft);
      if (prefixSharing) {
        const { cachedTokens, promptTokens } = await engine.stats();
        x.add(
          "share of prompt tokens found in shared pages",
          [cachedTokens / promptTokens],
          "",
          note,
        );
      }
    } finally {
      await engine.close();
    }
    x.step("shared prefixes");
  }
  const [apart = [], shared = []] = times;
  x.add("time to first token, nothing shared / prefix shared", ratios(apart, shared), "x", note);
}

const fresh = (): AbortSignal => new AbortController().signal;

function openEngine(x: Experiment, kv: Partial<EngineKvOptions>): Promise<EngineClient> {
  return openExperimentEngine({
    modelPath: x.modelPath,
    threads: 1,
    contextTokens: slotTokens,
    scheduler: { batchSizeCap: slots },
    kv: { ...plainPages, ...kv },
  });
}
