/**
 * Imports a folder of Vidur profiles (mlp.csv, attention.csv, all_reduce.csv, send_recv.csv) in a second or so: the
 * measured points themselves, interpolated, instead of forests trained on them. See docs/decisions/0020.
 */
import { MillraceError } from "@millrace/core";
import { kvHeadsPerDevice } from "../../memory/split.ts";
import type { DeviceSpec, ModelSpec } from "../../types.ts";
import { type TokenOperator, tokenOperators, type VidurTables } from "../vidur-tables/tables.ts";
import {
  type AttentionPoint,
  decodeGrid,
  decodeLaw,
  prefillGrid,
  prefillLaw,
  rooflineLaws,
} from "./attention.ts";
import { ProfileTable } from "./columns.ts";
import { type CurvePoint, cleanCurve, interpolate } from "./curve.ts";

/** Texts of the folder's files by name. */
export type ProfileFiles = ReadonlyMap<string, string>;

/** The deployment to import for; rows of other models and parallelism are left out (Vidur's filters). */
export interface ImportOptions {
  readonly model: ModelSpec;
  readonly device: DeviceSpec;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  readonly blockSize: number;
  /** For messages. */
  readonly folder: string;
}

/** Tokens that the tables cover, as Vidur's by default. */
const TABLE_TOKENS = 4096;
const TABLE_ROWS = 128;
/** Columns that Vidur takes as 0 where they are absent. */
const optional: ReadonlySet<TokenOperator> = new Set([
  "input_layernorm",
  "post_attention_layernorm",
  "add",
]);

/** Reads the folder's tables. Throws PROFILE_INVALID with file, line and column of what is wrong. */
export function importVidurProfiles(files: ProfileFiles, options: ImportOptions): VidurTables {
  const { model, folder, tensorParallel, pipelineParallel } = options;
  const notes: string[] = [];
  const unfitted: string[] = [];
  const token = {} as Record<TokenOperator, Float64Array>;
  const mlp = open(files, "mlp.csv", folder);
  if (mlp === null)
    throw new MillraceError("PROFILE_INVALID", `${folder} has no mlp.csv`, {
      hint: "predictor.path names the folder of one model and device, e.g. compute/a100/meta-llama/Llama-2-70b-hf.",
      at: { file: `${folder}/mlp.csv` },
    });
  const rows = mlp.rowsWhere([
    ["n_head", model.heads],
    ["n_kv_head", model.kvHeads],
    ["n_embd", model.hidden],
    ["n_expanded_embd", model.ffn],
    ["num_tensor_parallel_workers", tensorParallel],
  ]);
  const tokens = mlp.numbers("num_tokens");
  let dropped = 0;
  for (const operator of tokenOperators) {
    if (operator === "attn_kv_cache_save") continue;
    const name = `time_stats.${operator}.median`;
    if (optional.has(operator) && !mlp.has(name)) {
      token[operator] = new Float64Array(TABLE_TOKENS);
      continue;
    }
    const times = mlp.numbers(name);
    const points = rows.map((row) => ({ x: tokens[row] as number, y: times[row] as number }));
    const curve = cleanCurve(points, fastest(operator, options));
    dropped += curve.dropped;
    token[operator] = tabulate(curve.points, `${mlp.file}: ${name}`);
  }
  if (dropped > 0)
    notes.push(
      `${dropped} medians faster than the device's peak or far off their neighbours left out`,
    );

  const attention = open(files, "attention.csv", folder);
  const tables = attention === null ? null : readAttention(attention, options);
  if (tables === null) {
    unfitted.push(
      `${folder} has no attention.csv: attention from the roofline of ${options.device.name}`,
    );
    token.attn_kv_cache_save = new Float64Array(TABLE_TOKENS);
  } else token.attn_kv_cache_save = tables.save;
  const laws = tables ?? {
    ...rooflineLaws(model, options.device, tensorParallel),
    rows: TABLE_ROWS,
    kv: TABLE_TOKENS,
  };

  const within = tensorParallel * pipelineParallel <= options.device.devicesPerServer;
  return {
    token,
    decode: decodeGrid(laws.decode, laws.rows, laws.kv),
    prefill: prefillGrid(laws.prefill, TABLE_TOKENS, TABLE_TOKENS),
    allReduce:
      tensorParallel === 1
        ? null
        : readCollective(files, "all_reduce", options, [
            ["num_workers", tensorParallel],
            ["devices_per_node", tensorParallel],
          ]),
    sendRecv:
      pipelineParallel === 1
        ? null
        : readCollective(files, "send_recv", options, [["devices_per_node", within ? 2 : 1]]),
    source: `Vidur profiles ${folder}${notes.length === 0 ? "" : ` (${notes.join("; ")})`}`,
    unfitted,
  };
}

function open(files: ProfileFiles, name: string, folder: string): ProfileTable | null {
  const text = files.get(name);
  return text === undefined ? null : new ProfileTable(text, `${folder}/${name}`);
}

/** Milliseconds that a product cannot undercut; 0 for other operators. */
function fastest(operator: TokenOperator, options: ImportOptions): (tokens: number) => number {
  const { model, device, tensorParallel: tp } = options;
  const heads = model.heads / tp;
  const kvHeads = kvHeadsPerDevice(model, tp);
  const products: Partial<Record<TokenOperator, number>> = {
    attn_pre_proj: model.hidden * (heads + 2 * kvHeads) * model.headDim,
    attn_post_proj: heads * model.headDim * model.hidden,
    mlp_up_proj: (model.hidden * model.ffn * (model.gated ? 2 : 1)) / tp,
    mlp_down_proj: (model.hidden * model.ffn) / tp,
  };
  const weights = products[operator];
  if (weights === undefined) return () => 0;
  return (tokens) => ((2 * tokens * weights) / (device.tflops * 1e12)) * 1e3;
}

function tabulate(points: readonly CurvePoint[], what: string): Float64Array {
  if (points.length === 0)
    throw new MillraceError("PROFILE_INVALID", `${what} has no usable value`, {
      hint: "Profile the operator again; every median is empty or impossibly small.",
    });
  return Float64Array.from({ length: TABLE_TOKENS }, (_, i) => interpolate(points, i + 1));
}

function readAttention(file: ProfileTable, options: ImportOptions) {
  const { model, tensorParallel, blockSize } = options;
  const rows = file.rowsWhere([
    ["n_embd", model.hidden],
    ["n_q_head", model.heads],
    ["n_kv_head", model.kvHeads],
    ["block_size", blockSize],
    ["num_tensor_parallel_workers", tensorParallel],
  ]);
  const batch = file.numbers("batch_size");
  const chunk = file.numbers("prefill_chunk_size");
  const kv = file.numbers("kv_cache_size");
  const prefillMs = file.numbers("time_stats.attn_prefill.median");
  const decodeMs = file.numbers("time_stats.attn_decode.median");
  const saveName = "time_stats.attn_kv_cache_save.median";
  const saveMs = file.has(saveName) ? file.numbers(saveName) : null;
  const decode: AttentionPoint[] = [];
  const prefill: AttentionPoint[] = [];
  const save: CurvePoint[] = [];
  for (const row of rows) {
    const point = { rows: batch[row]!, chunk: chunk[row]!, kv: kv[row]! };
    if (point.chunk === 0) decode.push({ ...point, ms: decodeMs[row]! });
    else prefill.push({ ...point, ms: prefillMs[row]! });
    if (saveMs !== null) save.push({ x: Math.max(point.chunk, point.rows), y: saveMs[row]! });
  }
  if (decode.length === 0 || prefill.length === 0)
    throw new MillraceError(
      "PROFILE_INVALID",
      `${file.file} has ${decode.length} decode and ${prefill.length} prefill rows for this deployment; both are needed`,
      { hint: "Profile both kinds of batches.", at: { file: file.file } },
    );
  const most = (of: (p: AttentionPoint) => number): number =>
    decode.reduce((high, p) => Math.max(high, of(p)), 0);
  return {
    decode: decodeLaw(decode),
    prefill: prefillLaw(prefill),
    rows: most((p) => p.rows),
    kv: most((p) => p.kv),
    save:
      saveMs === null
        ? new Float64Array(TABLE_TOKENS)
        : tabulate(cleanCurve(save, () => 0).points, `${file.file}: ${saveName}`),
  };
}

function readCollective(
  files: ProfileFiles,
  collective: "all_reduce" | "send_recv",
  options: ImportOptions,
  wanted: readonly (readonly [string, number])[],
): Float64Array | null {
  const file = open(files, `${collective}.csv`, options.folder);
  if (file === null) return null;
  const rows = file.rowsWhere(wanted);
  const size = file.numbers("size");
  const times = file.numbers(`time_stats.${collective}.median`);
  const perToken = 2 * options.model.hidden;
  const points = rows.map((row) => ({ x: size[row]! / perToken, y: times[row]! }));
  return tabulate(
    cleanCurve(points, () => 0).points,
    `${file.file}: time_stats.${collective}.median`,
  );
}
