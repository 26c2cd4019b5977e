/**
 * Metron (2024): two servers that the usual metrics cannot tell apart and their users can. The same load on two mock
 * endpoints whose batches cost the same and which differ in one thing: one computes prompts in chunks beside the decodes,
 * the other computes them first and lets the decodes wait.
 */
import {
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
  spread,
} from "@millrace/core";
import { scoreEtalon, scoreFluidity } from "@millrace/serving";
import type { BenchReport, LoadSpec, RequestRecord, Targets } from "../contracts.ts";
import { summarizeRun } from "../metrics/summary.ts";
import { startMockProcess } from "../mock/index.ts";
import { startRun } from "../run/run.ts";

const targets: Targets = { ttft: { type: "constant", us: 1_000_000 }, tbtUs: 50_000 };
const schedulers = ["chunked", "prefill-first"] as const;
type Scheduler = (typeof schedulers)[number];

/** Runs the experiments. Rejects with MillraceError, or with the signal's reason. */
export async function reproduceMetron(options: ReproduceOptions): Promise<Reproduction> {
  const rounds = options.quick ? 1 : 3;
  const requests = options.quick ? 24 : 60;
  const reports: Record<Scheduler, BenchReport[]> = { chunked: [], "prefill-first": [] };
  for (let round = 0; round < rounds; round++)
    // Every other round starts with the other one.
    for (const scheduler of round % 2 === 0 ? schedulers : [...schedulers].reverse()) {
      reports[scheduler].push(
        await measure(scheduler, requests, options.seed + round, options.signal),
      );
      const done = reports.chunked.length + reports["prefill-first"].length;
      options.onProgress?.(done, 2 * rounds, `${scheduler}, round ${round + 1}`);
    }
  const row = (
    claim: string,
    unit: string,
    of: (chunked: BenchReport, first: BenchReport) => number,
    note: string,
  ): ReproduceRow => ({
    ...{ claim, theirs: null, unit, kind: "measured", n: requests, seed: options.seed, note },
    ...spread(
      reports.chunked.map((chunked, i) => of(chunked, reports["prefill-first"][i] as BenchReport)),
    ),
  });
  const load = `mock endpoints, ${requests} requests of 200 to 2,000 prompt tokens at 2 per second; TTFT 1 s, TBT 50 ms`;
  const paper =
    "the paper prints curves of vLLM and Sarathi-Serve on GPUs; what carries over is which metric tells them apart";
  return {
    schema: "millrace.reproduce/1",
    paper: "metron",
    title: "Metron (2024): the fluidity-index tells apart what TPOT and throughput do not",
    rows: [
      row(
        "median TPOT, prefill-first / chunked",
        "x",
        (c, p) => p.latencyMs.tpot.p50 / c.latencyMs.tpot.p50,
        `${load}; ${paper}`,
      ),
      row(
        "throughput, prefill-first / chunked",
        "x",
        (c, p) => p.throughput.outputTokensPerSecond / c.throughput.outputTokensPerSecond,
        load,
      ),
      row(
        "median TBT, prefill-first / chunked",
        "x",
        (c, p) => p.latencyMs.tbt.p50 / c.latencyMs.tbt.p50,
        `${load}; by this figure the server that stalls is the faster one`,
      ),
      row(
        "p99 of TBT, prefill-first / chunked",
        "x",
        (c, p) => p.latencyMs.tbt.p99 / c.latencyMs.tbt.p99,
        load,
      ),
      row(
        "fluid token generation rate, chunked / prefill-first",
        "x",
        (c, p) => c.fluidity.fluidTokenRate / p.fluidity.fluidTokenRate,
        `${load}; tokens per second that 99 % of the requests keep at a fluidity of 0.9`,
      ),
      row(
        "deadlines missed while decoding, chunked",
        "%",
        (c) => 100 * missedAt(c, 50_000),
        `${load}; p99 over requests, first token left out`,
      ),
      row(
        "deadlines missed while decoding, prefill-first",
        "%",
        (_, p) => 100 * missedAt(p, 50_000),
        `${load}; p99 over requests, first token left out`,
      ),
      arithmetic(options.seed),
    ],
    unfitted: [],
  };
}

function missedAt({ acceptance }: BenchReport, tbtTargetUs: number): number {
  return acceptance.find((point) => point.tbtTargetUs === tbtTargetUs)?.missRate ?? Number.NaN;
}

/** A late token that is exactly five periods late: whole microseconds count six misses, floats of seconds five. */
function arithmetic(seed: number): ReproduceRow {
  const gaps = [100_000, 300_000];
  const theirs = scoreEtalon(gaps, 100_000, 50_000).missed;
  const ours = scoreFluidity(gaps, 100_000, 50_000).missed;
  return {
    claim: "deadlines missed by a token that is 250 ms late at a period of 50 ms",
    ...{ theirs, ours, low: ours, high: ours, unit: "deadlines", kind: "measured", n: 1, seed },
    note: "theirs: the arithmetic of etalon, the paper's program, whose 0.25 // 0.05 is 4 in floats; --compat etalon gives it digit for digit",
  };
}

async function measure(
  scheduler: Scheduler,
  requests: number,
  seed: number,
  signal: AbortSignal | undefined,
): Promise<BenchReport> {
  await using mock = await startMockProcess({
    ...{ scheduler, stepMs: 15, prefillTokensPerSecond: 8000, chunkTokens: 192 },
  });
  const load: LoadSpec = {
    arrivals: { type: "poisson", qps: 2 },
    lengths: { type: "range", prompt: { min: 200, max: 2000 }, output: { min: 40, max: 100 } },
    requests,
    warmup: { requests: 2 },
  };
  const run = startRun({
    endpoint: { url: mock.url, api: "chat", model: "mock" },
    ...{ load, seed, label: scheduler, targets: { ttftUs: 1_000_000, tbtUs: targets.tbtUs } },
    ...(signal !== undefined && { signal }),
  });
  const records: RequestRecord[] = [];
  for await (const record of run) records.push(record);
  signal?.throwIfAborted();
  return summarizeRun({ header: await run.header, records, end: await run.end }, { targets });
}
