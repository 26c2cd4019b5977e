/** The goldens: request by request and bit by bit the times that Vidur itself produced, in its compatible mode. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { quantileSorted } from "@millrace/core";
import { type Seq, SeqTable, type StepCostModel, StepPlan } from "@millrace/serving";
import { parseVidurTables, VidurTablesCost } from "@millrace/sim";
import { readTableFiles } from "@millrace/sim/node";
import { describe, expect, it } from "vitest";
import { type OracleBatch, runVidur } from "./oracle/vidur.ts";
import { deployment, type Job, qwen2, type Ran, requestTable, runJobs } from "./support/fleet.ts";

const folder = fileURLToPath(new URL("../../shared/data/vidur", import.meta.url));
const present = existsSync(`${folder}/tables/default.json`);

function readColumns(file: string): Record<string, number>[] {
  const [head, ...lines] = readFileSync(file, "utf8").trim().split(/\r?\n/);
  const names = head.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    return Object.fromEntries(names.map((name, i) => [name, Number(cells[i])]));
  });
}

const cases = [
  { scheduler: "vllm-v0", name: "vllm_q1.0_n512", trace: "trace_q1.0_n512" },
  { scheduler: "vllm-v0", name: "vllm_q2.0_n1000", trace: "trace_q2.0_n1000" },
  { scheduler: "sarathi-serve", name: "sarathi_q1.0_n512", trace: "trace_q1.0_n512" },
  { scheduler: "sarathi-serve", name: "sarathi_q2.0_n1000", trace: "trace_q2.0_n1000" },
] as const;

function readJobs(trace: string): Job[] {
  return readColumns(`${folder}/traces/${trace}.csv`).map((row) => ({
    arrivedAt: row.arrived_at,
    prompt: row.num_prefill_tokens,
    output: row.num_decode_tokens,
  }));
}

async function tableCost(): Promise<StepCostModel> {
  const files = await readTableFiles(`${folder}/tables`, "default");
  const tables = parseVidurTables(files, "default", folder);
  return new VidurTablesCost(tables, { model: qwen2, tensorParallel: 1, pipelineParallel: 1 });
}

type Type = "vllm-v0" | "sarathi-serve";

async function runTrace(scheduler: Type, jobs: readonly Job[], blocks: number): Promise<Ran> {
  return runJobs({
    config: deployment({ scheduler: { type: scheduler }, vidur: true }),
    requests: requestTable(jobs),
    geometry: { blocks, blockTokens: 16 },
    cost: await tableCost(),
  });
}

/** The oracle's batch as a plan, so that it costs what ours costs. */
function planOf(batch: OracleBatch): StepPlan {
  const plan = new StepPlan();
  plan.reset(batch.startedAt);
  batch.rows.forEach(([, start, count], i) => {
    const request = batch.requests[i];
    if (!request.prefillComplete) plan.addPrefill(0 as Seq, start, count, true);
    else {
      plan.rows++;
      plan.tokens++;
      plan.decodeRows++;
      plan.decodeContext += request.processed;
    }
  });
  return plan;
}

describe.skipIf(!present)("Vidur's reference runs (needs shared/data/vidur)", () => {
  it.each(cases)("$name: every time equals Vidur's", async ({ scheduler, name, trace }) => {
    const ran = await runTrace(scheduler, readJobs(trace), 11008);
    const reference = readColumns(`${folder}/reference/${name}_requests.csv`);
    const metrics = JSON.parse(readFileSync(`${folder}/reference/${name}_metrics.json`, "utf8"));
    expect(reference.length).toBe(ran.scheduledAt.length);
    const column = (key: string): number[] => reference.map((row) => row[key]);
    expect(Array.from(ran.scheduledAt)).toEqual(column("scheduled_at"));
    expect(Array.from(ran.firstTokenAt)).toEqual(column("prefill_completed_at"));
    expect(Array.from(ran.completedAt)).toEqual(column("completed_at"));
    expect(Array.from(ran.restarts)).toEqual(column("num_restarts"));
    expect(ran.batches.length).toBe(metrics.batches);
    expect(ran.emitted.reduce((a, b) => a + b, 0)).toBe(metrics.tokens);
  });

  it.each([
    { type: "vllm-v0", restarts: 72 },
    { type: "sarathi-serve", restarts: 50 },
  ] as const)("$type with 1,200 blocks: equal to the oracle", async ({ type, restarts }) => {
    const ran = await runTrace(type, readJobs("trace_q2.0_n1000"), 1200);
    const cost = await tableCost();
    const table = new SeqTable(1);
    const oracle = runVidur(readJobs("trace_q2.0_n1000"), {
      scheduler: type === "vllm-v0" ? "vllm" : "sarathi",
      replicas: 1,
      stages: 1,
      blocks: 1200,
      blockTokens: 16,
      watermark: 0.01,
      batchCap: 48,
      maxTokensInBatch: 4096,
      chunk: 512,
      maxWaitingIters: 10,
      slotTokens: 4096,
      seconds: (batch, stage) => cost.stepSeconds(planOf(batch), table, stage),
    });
    expect(oracle.stalled).toBe(false);
    expect(ran.batches.length).toBe(oracle.batches.length);
    expect(Array.from(ran.restarts)).toEqual(oracle.requests.map((q) => q.restarts));
    expect(Array.from(ran.scheduledAt)).toEqual(oracle.requests.map((q) => q.scheduledAt));
    expect(Array.from(ran.completedAt)).toEqual(oracle.requests.map((q) => q.completedAt));
    expect(ran.restarts.reduce((a, b) => a + b, 0)).toBe(restarts);
  });

  // Vidur at other rates (the trace of 1 a second with scaled times): figures of design/simulator.md 2.2.
  it.each([
    { type: "vllm-v0", qps: 0.5, blocks: 11008, restarts: 0, batches: 41587, ttft50: 0.153 },
    { type: "vllm-v0", qps: 4, blocks: 11008, restarts: 0, batches: 3219, ttft50: 13.1 },
    { type: "vllm-v0", qps: 4, blocks: 1200, restarts: 38, batches: 8430, ttft50: 73.7 },
    { type: "sarathi-serve", qps: 0.5, blocks: 11008, restarts: 0, batches: 42049, ttft50: 0.181 },
    { type: "sarathi-serve", qps: 4, blocks: 11008, restarts: 0, batches: 2881, ttft50: 6.51 },
    { type: "sarathi-serve", qps: 4, blocks: 1200, restarts: 25, batches: 8279, ttft50: 66.3 },
  ] as const)("$type at $qps requests/s with $blocks blocks", async (golden) => {
    const { type, qps, blocks } = golden;
    const jobs = readJobs("trace_q1.0_n512").map((j) => ({ ...j, arrivedAt: j.arrivedAt / qps }));
    const ran = await runTrace(type, jobs, blocks);
    expect(ran.restarts.reduce((a, b) => a + b, 0)).toBe(golden.restarts);
    expect(ran.batches.length).toBe(golden.batches);
    const ttft = ran.firstTokenAt.map((at, i) => at - jobs[i].arrivedAt).sort();
    expect(Number(quantileSorted(ttft, 0.5).toPrecision(3))).toBe(golden.ttft50);
  });
});
