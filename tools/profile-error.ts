/**
 * Held-out errors of the import of Vidur profiles, beside the in-sample errors of Vidur's own forests on the same data:
 *   npx tsx --conditions=millrace:source tools/profile-error.ts ../shared/data/vidur
 * Source of the figures in docs/decisions/0020-vidur-profiles-by-interpolation.md.
 */
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { fitError } from "@millrace/serving";
import { findDevice } from "../packages/sim/src/catalogue/devices.ts";
import { findModel } from "../packages/sim/src/catalogue/models.ts";
import { readProfileFiles, readTableFiles } from "../packages/sim/src/node/predictor-files.ts";
import {
  type AttentionPoint,
  decodeLaw,
  prefillLaw,
} from "../packages/sim/src/predictor/vidur-profiles/attention.ts";
import { ProfileTable } from "../packages/sim/src/predictor/vidur-profiles/columns.ts";
import { cleanCurve, interpolate } from "../packages/sim/src/predictor/vidur-profiles/curve.ts";
import { importVidurProfiles } from "../packages/sim/src/predictor/vidur-profiles/import.ts";
import {
  parseVidurTables,
  tokenOperators,
} from "../packages/sim/src/predictor/vidur-tables/tables.ts";

const data = process.argv[2];
if (data === undefined) {
  console.error("usage: profile-error.ts FOLDER   (FOLDER holds profiling/ and tables/)");
  process.exit(2);
}
const folder = join(data, "profiling/compute/a30/Qwen/Qwen-2-7B");
const files = await readProfileFiles(folder, "a30");
const forest = parseVidurTables(
  await readTableFiles(join(data, "tables"), "default"),
  "default",
  data,
);
const model = findModel("Qwen2-7B");
const device = findDevice("a30");

const began = performance.now();
importVidurProfiles(files, {
  model,
  device,
  tensorParallel: 1,
  pipelineParallel: 1,
  blockSize: 16,
  folder,
});
console.log(`import: ${(performance.now() - began).toFixed(0)} ms`);

function print(what: string, predicted: readonly number[], measured: readonly number[]): void {
  const e = fitError(predicted.map((p, i) => Math.abs(p / (measured[i] as number) - 1)));
  console.log(
    `${what.padEnd(46)} MAPE ${e.mape.toFixed(1).padStart(5)} %  p50 ${e.p50.toFixed(1).padStart(5)}  p90 ${e.p90.toFixed(1).padStart(5)}  n ${e.n}`,
  );
}

const mlp = new ProfileTable(files.get("mlp.csv") ?? "", "mlp.csv");
const tokens = mlp.numbers("num_tokens");
/** Elements of the weights of the products: what the tensor peak bounds. */
const weights: Readonly<Record<string, number>> = {
  attn_pre_proj: 3584 * 4608,
  attn_post_proj: 3584 * 3584,
  mlp_up_proj: 3584 * 37888,
  mlp_down_proj: 3584 * 18944,
};
for (const operator of tokenOperators) {
  if (operator === "attn_kv_cache_save") continue;
  const times = mlp.numbers(`time_stats.${operator}.median`);
  const all = Array.from(tokens, (x, i) => ({ x, y: times[i] as number }));
  const floor = (x: number): number =>
    ((2 * x * (weights[operator] ?? 0)) / (device.tflops * 1e12)) * 1e3;
  const { points } = cleanCurve(all, floor);
  const kept = points.filter((_, i) => i % 2 === 0);
  const held = points.filter((_, i) => i % 2 === 1);
  const measured = held.map((p) => p.y);
  print(
    `${operator}: every second point held out`,
    held.map((p) => interpolate(kept, p.x)),
    measured,
  );
  const column = forest.token[operator];
  print(
    `${operator}: Vidur's forest, in sample`,
    held.map((p) => column[p.x - 1] as number),
    measured,
  );
}

const attention = new ProfileTable(files.get("attention.csv") ?? "", "attention.csv");
const of = (name: string): Float64Array => attention.numbers(name);
const [rows, chunk, kv] = [of("batch_size"), of("prefill_chunk_size"), of("kv_cache_size")];
for (const kind of ["decode", "prefill"] as const) {
  const ms = of(`time_stats.attn_${kind}.median`);
  // Shapes are split as wholes, so that no repeat of a held-out point is seen.
  const shapes = new Map<string, AttentionPoint[]>();
  for (let i = 0; i < ms.length; i++) {
    const p = {
      rows: rows[i] as number,
      chunk: chunk[i] as number,
      kv: kv[i] as number,
      ms: ms[i] as number,
    };
    if (p.chunk > 0 !== (kind === "prefill") || !(p.ms > 0)) continue;
    const key = `${p.rows}/${p.chunk}/${p.kv}`;
    shapes.set(key, [...(shapes.get(key) ?? []), p]);
  }
  const groups = [...shapes.values()];
  const order = Int32Array.from(groups, (_, i) => i);
  new Rng(1).shuffle(order);
  const half = groups.length >> 1;
  const pick = (indices: Int32Array): AttentionPoint[] =>
    [...indices].flatMap((i) => groups[i] as AttentionPoint[]);
  const law = (kind === "decode" ? decodeLaw : prefillLaw)(pick(order.subarray(0, half)));
  const held = pick(order.subarray(half));
  print(
    `attn_${kind}: half of the shapes held out`,
    held.map(law),
    held.map((p) => p.ms),
  );
  const known = held.filter((p) => p.kv % 64 === 0);
  const grid = forest[kind];
  print(
    `attn_${kind}: Vidur's forest, in sample`,
    known.map((p) => {
      const at = kind === "decode" ? [p.rows - 1, p.kv / 64] : [p.kv / 64, p.chunk - 1];
      return grid.values[(at[0] as number) * grid.columns + (at[1] as number)] as number;
    }),
    known.map((p) => p.ms),
  );
}
