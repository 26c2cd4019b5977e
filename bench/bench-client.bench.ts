/**
 * The load generator as a measuring instrument: how late it reads at 10,000 tokens a second, how much one worker drains,
 * what an open stream costs it in memory, what a token costs the metric, and how exact its arrivals are. The mock endpoint
 * runs in a process of its own beside it. Each run starts with a warm-up that does not count.
 */

import { Rng } from "@millrace/core";
import { scoreFluidity } from "@millrace/serving";
import type { LoadSpec, RunEnd } from "../packages/bench/src/contracts.ts";
import { buildSchedule } from "../packages/bench/src/load/schedule.ts";
import { startMockProcess } from "../packages/bench/src/mock/index.ts";
import { startRun } from "../packages/bench/src/run/run.ts";
import { cpuMs, report } from "./harness.ts";

interface Measured {
  readonly end: RunEnd;
  readonly tokens: number;
}

async function drive(url: string, load: LoadSpec): Promise<Measured> {
  const run = startRun({ endpoint: { url, api: "chat", model: "mock" }, load, seed: 5 });
  let tokens = 0;
  for await (const record of run) if (!record.warmup) tokens += record.tokens;
  return { end: await run.end, tokens };
}

const closed = (concurrency: number, output: number, requests: number): LoadSpec => ({
  arrivals: { type: "closed", concurrency },
  lengths: { type: "fixed", prompt: 16, output },
  requests,
  warmup: { requests: concurrency, concurrency },
});

{
  // 100 streams in steps of 9.5 ms: 10,000 tokens a second, all of a step at once, as engines send them.
  await using mock = await startMockProcess({ stepMs: 9.5, maxBatch: 128 });
  // Steps of 9.5 ms make up for prompts, and for the ends, at which streams change places.
  const { end, tokens } = await drive(mock.url, closed(100, 1000, 200));
  const { self, seconds } = end;
  report("100 streams: tokens received per second", tokens / seconds, "1/s");
  report("100 streams: shortfall below 10,000 tokens a second", 10_000 / (tokens / seconds), "", 1);
  report("100 streams: canary read late, p50", self.canary.p50 / 1e3, "ms");
  report("100 streams: canary read late, p99", self.canary.p99 / 1e3, "ms", 3);
  const cpu = self.workers[0]?.cpuSeconds ?? Number.NaN;
  report("100 streams: CPU of the worker per token", (cpu / tokens) * 1e6, "us");
}
{
  // As fast as the mock can write; the worker's own CPU tells what it could drain with a core to itself.
  await using mock = await startMockProcess({
    stepMs: 0,
    maxBatch: 32,
    prefillTokensPerSecond: 1e9,
  });
  const { end, tokens } = await drive(mock.url, closed(16, 20_000, 32));
  const cpu = end.self.workers[0]?.cpuSeconds ?? Number.NaN;
  report(
    "drained by one worker, wall: shortfall below 40,000 tokens a second",
    40_000 / (tokens / end.seconds),
    "",
    1,
  );
  report("drained by one worker, wall", tokens / end.seconds, "1/s");
  report("drained by one worker, per CPU second of its own", tokens / cpu, "1/s");
}
{
  await using mock = await startMockProcess({
    stepMs: 1000,
    maxBatch: 5000,
    // All prompts in one step: in chunks, 4,000 of them take minutes and are not all open at once.
    chunkTokens: 1e6,
    prefillTokensPerSecond: 1e9,
  });
  const idle = await drive(mock.url, closed(1, 2, 1));
  const many = await drive(mock.url, { ...closed(4000, 8, 4000), warmup: { requests: 0 } });
  const rss = (m: Measured): number => (m.end.self.workers[0]?.maxRssBytes ?? Number.NaN) / 2 ** 20;
  report("4,000 open streams: memory above an idle worker", rss(many) - rss(idle), "MiB", 120);
  report("4,000 open streams: answered", many.end.ok, "");
}
{
  const rng = new Rng(3);
  const gaps = Float64Array.from({ length: 1_000_000 }, () =>
    Math.round(rng.exponential(1 / 30_000)),
  );
  scoreFluidity(gaps, 100_000, 50_000);
  let met = 0;
  const ms = cpuMs(() => {
    met += scoreFluidity(gaps, 100_000, 50_000).met;
  });
  report("fluidity-index, CPU per token", (ms * 1e3) / gaps.length, "us", 0.05);
  if (met === 0) throw new Error("no deadline was met");
}
{
  const { requests } = buildSchedule(
    {
      arrivals: { type: "poisson", qps: 50 },
      lengths: { type: "fixed", prompt: 1, output: 2 },
      requests: 100_000,
    },
    17,
  );
  const gaps = requests.slice(1).map(({ at }, i) => at - (requests[i]?.at ?? 0));
  const mean = gaps.reduce((a, b) => a + b, 0) / gaps.length;
  const variance = gaps.reduce((a, b) => a + (b - mean) ** 2, 0) / gaps.length;
  report("100,000 Poisson arrivals: error of the rate", Math.abs(1 / mean / 50 - 1), "", 0.005);
  report(
    "100,000 Poisson arrivals: error of the CV",
    Math.abs(Math.sqrt(variance) / mean - 1),
    "",
    0.02,
  );
}
