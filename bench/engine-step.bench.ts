/**
 * A step of the ggml executor against libllama on the same file, in one process: CPU time of interleaved pairs, whose order
 * alternates; both computed off the event loop. A figure is the upper 95 % bound of the median ratio. Decode rows stand at
 * 256 tokens. Environment: BENCH_PAIRS (20), BENCH_THREADS (1,2), BENCH_FORMAT (q8_0), BENCH_CASES (all).
 */
import { openGgmlExecutor } from "../packages/engine/src/executor/ggml/index.ts";
import { testMemory } from "../packages/engine/src/executor/ggml/memory/test-memory.conformance.ts";
import {
  benchModel,
  cpuMsOf,
  LlamaRunner,
  ours,
  type Row,
  type Runner,
  ratio,
  tokens,
} from "./engine-step.ts";
import { median, report } from "./harness.ts";

const pairs = Number(process.env.BENCH_PAIRS ?? 20);
const threadCounts = (process.env.BENCH_THREADS ?? "1,2").split(",").map(Number);
const format = (process.env.BENCH_FORMAT ?? "q8_0") as "q8_0";
const wanted = process.env.BENCH_CASES?.split(",");
const vocabulary = 8192;
const context = 256;
const slots = 33;
const slotTokens = 1024;
const path = benchModel("medium", format);

const decodes = (n: number): Row[] =>
  Array.from({ length: n }, (_, slot) => ({ slot, start: context, tokens: [5 + slot] }));
const prefill = (n: number): Row => ({ slot: 32, start: 0, tokens: tokens(n, 99, vocabulary) });
interface Case {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly split: number;
  readonly unified?: number;
}
const cases: readonly Case[] = [
  { name: "decode 1", rows: decodes(1), split: 1.03 },
  { name: "decode 8", rows: decodes(8), split: 0.97 },
  { name: "decode 32", rows: decodes(32), split: 0.92 },
  { name: "prefill 512", rows: [prefill(512)], split: 1.02 },
  { name: "hybrid 120+8", rows: [prefill(120), ...decodes(8)], split: 0.97, unified: 0.8 },
];

async function compare(name: string, a: Runner, b: Runner, rows: readonly Row[], bar?: number) {
  const mine = a.prepare(rows);
  const theirs = b.prepare(rows);
  const times: [number[], number[]] = [[], []];
  for (let i = -2; i < pairs; i++) {
    const first = i % 2 === 0;
    const one = await cpuMsOf(first ? mine : theirs);
    const other = await cpuMsOf(first ? theirs : mine);
    if (i < 0) continue;
    times[0].push(first ? one : other);
    times[1].push(first ? other : one);
  }
  const { median: middle, upper } = ratio(...times);
  report(`${name}: median ratio`, middle, "");
  report(`${name}: upper bound of the ratio`, upper, "", bar);
  return times;
}

const chosen = cases.filter(({ name }) => wanted?.some((w) => name.startsWith(w)) ?? true);
const withPaged = wanted?.includes("paged") ?? true;
const held = Math.max(
  withPaged ? 32 : 0,
  ...chosen.flatMap(({ rows }) => rows.map((row) => (row.start > 0 ? row.slot + 1 : 0))),
);
const withUnified = chosen.some(({ unified }) => unified !== undefined);

for (const threads of threadCounts) {
  const options = { modelPath: path, threads, slots, slotTokens } as const;
  using contiguous = await openGgmlExecutor({ ...options, memory: (g) => testMemory(g) });
  using paged = withPaged ? await openGgmlExecutor({ ...options, kv: "paged" }) : null;
  using split = chosen.length > 0 ? new LlamaRunner(path, threads, slots, slotTokens, false) : null;
  using unified = withUnified ? new LlamaRunner(path, threads, slots, 512, true) : null;
  const mine = ours(contiguous);
  for (let slot = 0; slot < held; slot++) {
    const rows = [{ slot, start: 0, tokens: tokens(context, slot, vocabulary) }];
    await mine.prepare(rows).run();
    if (paged !== null) await ours(paged).prepare(rows).run();
    await split?.prepare(rows).run();
    if (slot < 8) await unified?.prepare(rows).run();
  }
  const of = `${format}, ${threads} thread${threads > 1 ? "s" : ""}`;
  for (const { name, rows, split: bar, unified: unifiedBar } of chosen) {
    if (split === null) break;
    const [times] = await compare(`${name} / libllama split, ${of}`, mine, split, rows, bar);
    report(`${name}: CPU of a step, ${of}`, median(times), "ms");
    if (unifiedBar !== undefined && unified !== null)
      await compare(`${name} / libllama unified, ${of}`, mine, unified, rows, unifiedBar);
    const typescript = (what: string, ms: number) =>
      report(`${name}: TypeScript of a step, graph ${what}, ${of}`, ms, "ms", 0.42);
    typescript("kept", 1e3 * contiguous.lastOverheadSeconds);
    const built: number[] = [];
    for (let i = 0; i < 9; i++) {
      // Another shape in between: the next step needs a new graph.
      await mine.prepare([{ slot: 32, start: 0, tokens: [1, 2] }]).run();
      await mine.prepare(rows).run();
      built.push(1e3 * contiguous.lastOverheadSeconds);
    }
    typescript("new", median(built));
  }
  if (paged !== null)
    await compare(`decode 32, paged gather / contiguous, ${of}`, ours(paged), mine, decodes(32));
}
