import {
  createScheduler,
  DecisionLog,
  ReplayBackend,
  Replica,
  replay,
  type SchedulerName,
  SeqTable,
  type StepPlan,
  VattentionKv,
} from "@millrace/serving";
import { describe, expect, it } from "vitest";
import { defaultSampling, Sampler } from "../sampling/index.ts";
import { ExecutorBackend, type LiveRequest } from "./executor-backend.ts";
import { Generation } from "./generation.ts";
import { hashExecutor } from "./hash-executor.conformance.ts";

const options = {
  chunkSize: 8,
  batchSizeCap: 6,
  maxTokensInBatch: 200,
  tile: 1,
  chunking: "static" as const,
  dynamic: { low: 32, high: 64, stages: 2, maxTokens: 128 },
  targetTbt: 1,
  maxWaitingIters: 10,
};
const vocabulary = 50;
const texts = {
  size: vocabulary,
  bytes: (t: number) => Uint8Array.of(97 + (t % 26)),
  endsGeneration: () => false,
};
const rowsOf = (p: StepPlan): string =>
  JSON.stringify([
    p.ticket,
    p.now,
    ...[p.seq, p.start, p.count, p.flags].map((a) => Array.from(a.subarray(0, p.rows))),
    Array.from(p.preempted.data.subarray(0, p.preempted.n)),
  ]);

/** Serves `jobs` [prompt, new tokens] to the end; returns the tokens of each. */
async function serve(
  type: SchedulerName,
  jobs: readonly (readonly [number, number])[],
  groups: number,
) {
  const plans: string[] = [];
  const log = new DecisionLog();
  const make = (
    backend: (t: SeqTable) => ConstructorParameters<typeof Replica>[0]["backend"],
    logTo?: DecisionLog,
  ): Replica => {
    const table = new SeqTable(4);
    const kv = new VattentionKv(table, {
      groups,
      groupTokens: 4,
      slots: 8,
      slotTokens: 64,
      watermark: 0,
      deferredReclamation: true,
      eagerSteps: 10,
      eagerGroups: 2,
    });
    const scheduler = createScheduler(type, options, {
      table,
      kv,
      depth: 1,
      cost: { stepSeconds: () => 0 },
      vidur: false,
    });
    return new Replica({
      table,
      scheduler,
      kv,
      backend: backend(table),
      check: true,
      ...(logTo === undefined ? {} : { log: logTo }),
      observer: { planned: (p) => void (logTo && plans.push(rowsOf(p))), completed: () => {} },
    });
  };
  const requests = new Map<number, LiveRequest>();
  const sampler = new Sampler(vocabulary);
  const out: number[][] = jobs.map(() => []);
  let now = 0;
  let done = (): void => {};
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const replica = make(
    (table) =>
      new ExecutorBackend({
        executor: hashExecutor(8, 64, vocabulary),
        table,
        clock: { now: () => now },
        requests,
        whileComputing: async () => {},
        ended: (ticket) => {
          now++;
          replica.completed(ticket, now);
          replica.pump(now);
          if (replica.idle) done();
        },
      }),
    log,
  );
  jobs.forEach(([prompt, fresh], i) => {
    const tokens = new Int32Array(prompt).map((_, k) => (k * 7 + i * 13) % vocabulary);
    requests.set(
      i,
      new Generation(
        { sampler, texts, endTokens: new Int32Array(0) },
        {
          prompt: tokens,
          maxTokens: fresh,
          minTokens: 0,
          sampling: { ...defaultSampling, seed: i },
          stop: [],
          stopTokens: [],
          ignoreEos: false,
        },
        null,
        (token) => out[i].push(token),
      ),
    );
    expect(replica.offer(replica.table.add(i, prompt, fresh, fresh, 0, 0), 0)).toBe("accepted");
  });
  replica.pump(0);
  await finished;
  expect([replica.table.live, replica.kv.usedPages]).toEqual([0, 0]);
  const again: string[] = [];
  const back = new ReplayBackend(1, (p) => void again.push(rowsOf(p)));
  replay(
    log.entries,
    make(() => back),
    back,
  );
  expect(again).toEqual(plans);
  return { out, preemptions: plans.filter((p) => !p.endsWith(",[]]")).length };
}

const jobs = [
  [20, 12],
  [3, 30],
  [17, 9],
  [1, 20],
  [33, 5],
] as const;

describe("ExecutorBackend", () => {
  it.each([
    "sarathi-serve",
    "sarathi",
    "vllm-v0",
    "vllm-v1",
    "simple-chunking",
    "orca",
    "faster-transformer",
    "lightllm",
  ] as const)(
    "%s: tokens do not depend on batch mates or preemption, and the log replays to equal plans",
    async (type) => {
      const alone: number[][] = [];
      for (const [i] of jobs.entries()) {
        const only = jobs.map((j, k) => (k === i ? j : ([1, 1] as const)));
        alone.push((await serve(type, only, 128)).out[i]);
      }
      const together = await serve(type, jobs, 128);
      const tight = await serve(type, jobs, 14);
      expect(together.out).toEqual(alone);
      expect(tight.out).toEqual(alone);
      if (type !== "lightllm") expect(tight.preemptions).toBeGreaterThan(0);
      expect(together.out.map((o) => o.length)).toEqual(jobs.map((j) => j[1]));
    },
  );
});
