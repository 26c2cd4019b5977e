import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import {
  PrefixKeyer,
  parseDecisions,
  replayDecisions,
  SeqTable,
  VattentionKv,
} from "@millrace/serving";
import { expect, it } from "vitest";
import type { KvGeometry } from "../contracts.ts";
import { createKvMemory, type MappedKvMemory } from "../kv-memory/index.ts";
import type { LocalEngine } from "./local-engine.ts";
import { pagedHashExecutor } from "./paged-hash-executor.conformance.ts";
import { collect, make, never, request, size } from "./small-engine.conformance.ts";

const geometry: KvGeometry = { slots: 8, slotTokens: 512, layers: 1, tokenBytes: 64 };
const pageBytes = 4096;

/** An engine over real pages of 64 tokens. */
function engineOf(groups: number, sharing: boolean, decisions?: string) {
  const table = new SeqTable(8);
  const kv = new VattentionKv(table, {
    groups,
    groupTokens: 64,
    page: { bytes: pageBytes, tokenBytes: 64 },
    slots: geometry.slots,
    slotTokens: geometry.slotTokens,
    watermark: 0,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 2,
  });
  const memory = createKvMemory(geometry, {
    backend: "memfd",
    pageBytes,
    layout: "per-layer",
    groups,
  }) as MappedKvMemory;
  const { engine } = make({
    executor: pagedHashExecutor(geometry, memory, size),
    table,
    kv,
    slots: geometry.slots,
    ...(sharing ? { prefixKeyer: new PrefixKeyer(kv.runTokens, 1000) } : {}),
    ...(decisions === undefined ? {} : { logs: { decisions } }),
  });
  return { engine, kv, memory, table };
}

/** Prompts that begin alike in groups, of random lengths. */
function jobs(n: number) {
  const rng = new Rng(11);
  const heads = Array.from({ length: 3 }, () => Array.from({ length: 260 }, () => rng.int(0, 39)));
  return Array.from({ length: n }, (_, i) => {
    const head = heads[i % 3]!.slice(0, rng.int(10, 260));
    const tail = Array.from({ length: rng.int(1, 60) }, () => rng.int(0, 39));
    return { prompt: Int32Array.from([...head, ...tail]), fresh: rng.int(1, 40), i };
  });
}

async function run(engine: LocalEngine, n: number, clients: number) {
  const all = jobs(n);
  const tokens: (readonly number[])[] = [];
  let cached = 0;
  await Promise.all(
    Array.from({ length: clients }, async (_, c) => {
      for (let i = c; i < n; i += clients) {
        const job = all[i]!;
        const given = request(1, job.fresh, { prompt: job.prompt });
        const got = await collect(
          engine.generate({ ...given, sampling: { ...given.sampling, seed: job.i } }, never),
        );
        tokens[i] = got.tokens;
        const finish = got.all.at(-1);
        if (finish?.type === "finish") cached += finish.cachedTokens;
      }
    }),
  );
  return { tokens, cached };
}

it.each([
  [200, 6],
  [14, 6],
])(
  "%i groups, %i clients: shared pages give the tokens of unshared ones, and the log replays",
  async (groups, clients) => {
    const dir = mkdtempSync(join(tmpdir(), "prefix-"));
    try {
      const file = join(dir, "decisions");
      const alone = engineOf(200, false);
      const expected = await run(alone.engine, 60, 1);
      expect(expected.cached).toBe(0);
      const shared = engineOf(groups, true, file);
      const got = await run(shared.engine, 60, clients);
      expect(got.tokens).toEqual(expected.tokens);
      expect(got.cached).toBeGreaterThan(500);
      const stats = await shared.engine.stats();
      expect(stats.cachedTokens).toBe(got.cached);
      if (groups < 20) expect(stats.preemptions).toBeGreaterThan(0);
      shared.memory.checkIntegrity();
      expect(shared.memory.mappedGroups).toBeLessThanOrEqual(groups);
      await shared.engine.close();
      await alone.engine.close();
      expect([shared.table.live, shared.kv.usedPages]).toEqual([0, 0]);
      const report = replayDecisions(parseDecisions(readFileSync(file, "utf8"), file), {
        stepSeconds: () => 0,
      });
      expect(report.difference).toBeNull();
      expect(report.requests).toBe(60);
      expect(report.steps).toBe(stats.steps);
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);
