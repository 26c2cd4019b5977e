/**
 * Models with random weights of a named geometry: for tests, trials and speed measurements without a download. The
 * texts mean nothing; the work of computing them is that of a trained model of this shape.
 */
import { MillraceError, Rng } from "@millrace/core";
import type { TensorType } from "../tensor-types.ts";
import type { MetadataValues } from "../write/header.ts";
import { type TensorSource, type WrittenGguf, writeGguf } from "../write/write-gguf.ts";
import {
  type Family,
  type FamilyName,
  families,
  type Geometry,
  type PresetName,
  presets,
} from "./presets.ts";
import { controlTokens, vocabularyMetadata } from "./vocabulary.ts";
import { type Values, weights } from "./weights.ts";

/** What to make; the same choice gives the same bytes on every machine. */
export interface ModelChoice {
  readonly preset: PresetName;
  /** Default llama. */
  readonly architecture?: FamilyName;
  /** Format of the matrices; default f16. */
  readonly type?: MadeType;
  /** Default 0. */
  readonly seed?: number;
  /** Path of the file; folders are made. */
  readonly out: string;
  readonly onProgress?: (bytes: number, of: number) => void;
}

/** Formats that models can be made in, with llama.cpp's number of the file type. */
export const madeTypes = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q8_0: 7,
  q4_K: 15,
  q6_K: 18,
  bf16: 32,
} as const satisfies Partial<Record<TensorType, number>>;

export type MadeType = keyof typeof madeTypes;

/**
 * Writes a model. Weights are scaled so that the parts of the residual stream are of like size and the logits have a
 * root mean square near 1: greedy texts wander instead of repeating one token. Throws OUTPUT_UNWRITABLE, USAGE.
 */
export function makeModel(choice: ModelChoice): WrittenGguf {
  const { preset, architecture = "llama", type = "f16", seed = 0, out } = choice;
  const geometry: Geometry = pick("preset", presets, preset);
  const family: Family = pick("architecture", families, architecture);
  const fileType = pick("type", madeTypes, type);
  const metadata: MetadataValues = {
    ...hyperparameters(`${architecture}-${preset}`, geometry, family, fileType),
    ...vocabularyMetadata(family.vocabulary, geometry.vocabulary),
  };
  const rng = new Rng(`model/${architecture}/${preset}/${seed}`);
  return writeGguf(out, metadata, tensors(geometry, family, type, rng), choice.onProgress);
}

function pick<T extends object, K extends keyof T>(what: string, choices: T, name: K): T[K] {
  if (Object.hasOwn(choices, name)) return choices[name];
  throw new MillraceError("USAGE", `there is no ${what} ${JSON.stringify(name)}`, {
    hint: `choose one of ${Object.keys(choices).join(", ")}`,
  });
}

function hyperparameters(
  name: string,
  geometry: Geometry,
  family: Family,
  fileType: number,
): MetadataValues {
  const a = family.architecture;
  const u32 = (value: number) => ({ type: "u32", value }) as const;
  const f32 = (value: number) => ({ type: "f32", value }) as const;
  return {
    "general.architecture": { type: "string", value: a },
    "general.name": { type: "string", value: `${name} (random weights)` },
    "general.file_type": u32(fileType),
    "general.quantization_version": u32(2),
    [`${a}.block_count`]: u32(geometry.layers),
    [`${a}.context_length`]: u32(geometry.context),
    [`${a}.embedding_length`]: u32(geometry.dim),
    [`${a}.feed_forward_length`]: u32(geometry.ffn),
    [`${a}.attention.head_count`]: u32(geometry.heads),
    [`${a}.attention.head_count_kv`]: u32(geometry.kvHeads),
    [`${a}.attention.key_length`]: u32(geometry.headDim),
    [`${a}.attention.value_length`]: u32(geometry.headDim),
    [`${a}.attention.layer_norm_rms_epsilon`]: f32(family.rmsEpsilon),
    [`${a}.rope.dimension_count`]: u32(geometry.headDim),
    [`${a}.rope.freq_base`]: f32(family.ropeBase),
    [`${a}.vocab_size`]: u32(geometry.vocabulary),
  };
}

function tensors(geometry: Geometry, family: Family, type: TensorType, rng: Rng): TensorSource[] {
  const { dim, layers, heads, kvHeads, headDim, ffn, vocabulary } = geometry;
  const list: TensorSource[] = [];
  const ones: Values = { kind: "ones" };
  const random = (deviation: number): Values => ({ kind: "random", deviation });
  const add = (name: string, shape: readonly number[], values: Values) =>
    list.push(weights(`${name}`, shape, type, values, rng));
  const small = controlTokens(family.vocabulary, vocabulary);
  const head: Values = { kind: "random", deviation: 1 / Math.sqrt(dim), small };
  // Products of a matrix with this deviation keep the size of their input.
  const keep = (inputs: number) => random(1 / Math.sqrt(inputs));
  add("token_embd.weight", [dim, vocabulary], family.tied ? head : random(0.5));
  for (let layer = 0; layer < layers; layer++) {
    const at = `blk.${layer}`;
    add(`${at}.attn_norm.weight`, [dim], ones);
    add(`${at}.attn_q.weight`, [dim, heads * headDim], random(1.5 / Math.sqrt(dim)));
    add(`${at}.attn_k.weight`, [dim, kvHeads * headDim], random(1.5 / Math.sqrt(dim)));
    add(`${at}.attn_v.weight`, [dim, kvHeads * headDim], keep(dim));
    if (family.attentionBias) {
      add(`${at}.attn_q.bias`, [heads * headDim], random(0.1));
      add(`${at}.attn_k.bias`, [kvHeads * headDim], random(0.1));
      add(`${at}.attn_v.bias`, [kvHeads * headDim], random(0.1));
    }
    if (family.headNorms) {
      add(`${at}.attn_q_norm.weight`, [headDim], ones);
      add(`${at}.attn_k_norm.weight`, [headDim], ones);
    }
    add(`${at}.attn_output.weight`, [heads * headDim, dim], keep(heads * headDim));
    add(`${at}.ffn_norm.weight`, [dim], ones);
    add(`${at}.ffn_gate.weight`, [dim, ffn], random(1.5 / Math.sqrt(dim)));
    add(`${at}.ffn_up.weight`, [dim, ffn], keep(dim));
    add(`${at}.ffn_down.weight`, [ffn, dim], keep(ffn));
  }
  add("output_norm.weight", [dim], ones);
  if (!family.tied) add("output.weight", [dim, vocabulary], head);
  return list;
}
