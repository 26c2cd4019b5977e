import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { parseDecisions, replayDecisions, SeqTable, VattentionKv } from "@millrace/serving";
import { expect, it } from "vitest";
import type { StepTiming } from "../contracts.ts";
import { defaultSampling } from "../sampling/index.ts";
import { hashExecutor } from "./hash-executor.conformance.ts";
import { LocalEngine } from "./local-engine.ts";
import type { SchedulerSettings } from "./scheduler-settings.ts";
import { over, strictMemory } from "./strict-memory.conformance.ts";

const size = 40;
const groupTokens = 4;
const settings: SchedulerSettings = {
  type: "sarathi-serve",
  chunkSize: 24,
  batchSizeCap: 8,
  maxTokensInBatch: 4096,
  tile: 1,
  chunking: "static",
  dynamic: { low: 32, high: 64, stages: 2, maxTokens: 128 },
  targetTbt: 1,
  maxWaitingIters: 10,
};

function policy(deferredReclamation: boolean) {
  const table = new SeqTable(4);
  const kv = new VattentionKv(table, {
    groups: 40,
    groupTokens,
    slots: 8,
    slotTokens: 128,
    watermark: 0,
    deferredReclamation,
    eagerSteps: 10,
    eagerGroups: 2,
  });
  return { table, kv };
}

it.each([true, false])(
  "random load with cancels: pages are there when computed on, and the decision log replays (deferred %s)",
  async (deferred) => {
    const dir = mkdtempSync(join(tmpdir(), "loop-"));
    try {
      const logs = { decisions: join(dir, "decisions"), timings: join(dir, "timings") };
      const { table, kv } = policy(deferred);
      const memory = strictMemory(groupTokens, 5);
      const fatal: string[] = [];
      const engine = new LocalEngine({
        executor: over(memory, hashExecutor(8, 128, size)),
        vocabulary: {
          size,
          tokenize: () => new Int32Array(0),
          detokenize: () => "",
          pieceBytes: (t) => Uint8Array.of(97 + (t % 26)),
          isEndOfGeneration: () => false,
        },
        table,
        kv,
        scheduler: settings,
        cost: { stepSeconds: () => 0 },
        maxWaiting: 1000,
        stepTimeoutSeconds: 600,
        hooks: { onFatal: (message) => fatal.push(message) },
        logs,
        check: true,
      });
      const rng = new Rng(7);
      const draw = (n: number): number => Math.floor(rng.next() * n);
      const jobs = Array.from({ length: 120 }, (_, i) => ({
        prompt: 1 + draw(60),
        fresh: 1 + draw(40),
        leaveAfter: draw(4) === 0 ? draw(10) : Number.POSITIVE_INFINITY,
        i,
      }));
      const serve = async (job: (typeof jobs)[number]): Promise<void> => {
        const events = engine.generate(
          {
            id: String(job.i),
            prompt: new Int32Array(job.prompt).fill(job.i % size),
            maxTokens: job.fresh,
            sampling: { ...defaultSampling, seed: job.i },
            stop: [],
            stopTokens: [],
            ignoreEos: false,
            minTokens: 0,
            grammar: null,
            priority: 0,
            deadlineSeconds: Number.POSITIVE_INFINITY,
          },
          new AbortController().signal,
        );
        let seen = 0;
        for await (const event of events) {
          expect(event.type).not.toBe("error");
          if (seen++ >= job.leaveAfter) break;
        }
      };
      // Twelve clients, one after the other each.
      await Promise.all(
        Array.from({ length: 12 }, async (_, c) => {
          for (let i = c; i < jobs.length; i += 12) await serve(jobs[i]);
        }),
      );
      await engine.drain(600);
      const stats = await engine.stats();
      await engine.close();
      expect([fatal, table.live, kv.usedPages]).toEqual([[], 0, 0]);
      expect(stats.preemptions).toBeGreaterThan(0);
      expect(memory.counts.background).toBeGreaterThan(20);
      expect(memory.counts.refused).toBeGreaterThan(0);
      expect(memory.counts.unmaps).toBeGreaterThan(0);

      const lines = (path: string): unknown[] =>
        readFileSync(path, "utf8")
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line));
      const timings = lines(logs.timings) as StepTiming[];
      const report = replayDecisions(
        parseDecisions(readFileSync(logs.decisions, "utf8"), logs.decisions),
        { stepSeconds: () => 0 },
      );
      expect(report).toEqual({
        model: "hash",
        schedulers: ["sarathi-serve"],
        requests: jobs.length,
        steps: timings.length,
        difference: null,
      });
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);
