/** Attention tables from Vidur's attention.csv: a fitted law of bytes and pairs, and what the points leave over. */
import { median } from "@millrace/core";
import { kvBytesPerTokenLayer } from "../../memory/split.ts";
import type { DeviceSpec, ModelSpec } from "../../types.ts";
import { calibrationFor } from "../roofline/calibration.ts";
import { fitBytes, fitPrefill, type PrefillFit, prefillSeconds } from "../roofline/fit.ts";
import { type Grid, KV_GRANULARITY } from "../vidur-tables/tables.ts";
import { ResidualSurface } from "./surface.ts";

/** Decode: `rows` sequences of `kv` tokens each. Prefill: rows 1, `chunk` tokens after `kv`. */
export interface AttentionPoint {
  readonly rows: number;
  readonly chunk: number;
  readonly kv: number;
  readonly ms: number;
}

export type AttentionLaw = (p: Omit<AttentionPoint, "ms">) => number;

/** Chunks between tabulated residuals; profiles step by 16 and more. */
const CHUNK_STEP = 16;
const X_OF_KV = (kv: number): number => Math.log(kv + KV_GRANULARITY);

/** Milliseconds of decode attention anywhere, from points with `chunk` 0. */
export function decodeLaw(points: readonly AttentionPoint[]): AttentionLaw {
  const unique = merge(points);
  const fit = fitBytes(unique.map((p) => ({ bytes: p.rows * p.kv, seconds: p.ms })));
  const law: AttentionLaw = (p) => fit.overhead + (p.rows * p.kv) / fit.rate;
  const surface = new ResidualSurface(
    unique.map((p) => ({ x: Math.log(p.rows), y: X_OF_KV(p.kv), value: Math.log(p.ms / law(p)) })),
  );
  return (p) => law(p) * Math.exp(surface.at(Math.log(p.rows), X_OF_KV(p.kv)));
}

/** Milliseconds of prefill attention anywhere, from points with `chunk` > 0. */
export function prefillLaw(points: readonly AttentionPoint[]): AttentionLaw {
  const unique = merge(points);
  const fit: PrefillFit = fitPrefill(unique.map((p) => ({ ...work(p), seconds: p.ms })));
  const surface = new ResidualSurface(
    unique.map((p) => ({
      x: Math.log(p.chunk),
      y: X_OF_KV(p.kv),
      value: Math.log(p.ms / prefillSeconds(fit, work(p))),
    })),
  );
  return (p) =>
    prefillSeconds(fit, work(p)) * Math.exp(surface.at(Math.log(p.chunk), X_OF_KV(p.kv)));
}

/** The law as a table over the profiled range: batch 1 … most, KV in steps of 64. */
export function decodeGrid(law: AttentionLaw, rows: number, maxKv: number): Grid {
  const columns = Math.ceil(maxKv / KV_GRANULARITY) + 1;
  const values = new Float64Array(rows * columns);
  for (let b = 0; b < rows; b++)
    for (let k = 0; k < columns; k++)
      values[b * columns + k] = law({ rows: b + 1, chunk: 0, kv: k * KV_GRANULARITY });
  return { rows, columns, values };
}

/** The law as a table: KV in steps of 64, chunks 1 … most; straight lines between every 16th chunk. */
export function prefillGrid(law: AttentionLaw, maxKv: number, columns: number): Grid {
  const rows = Math.ceil(maxKv / KV_GRANULARITY) + 1;
  const values = new Float64Array(rows * columns);
  for (let k = 0; k < rows; k++) {
    const kv = k * KV_GRANULARITY;
    let chunk = 1;
    let value = law({ rows: 1, chunk, kv });
    values[k * columns] = value;
    while (chunk < columns) {
      const next = Math.min((Math.floor(chunk / CHUNK_STEP) + 1) * CHUNK_STEP, columns);
      const end = law({ rows: 1, chunk: next, kv });
      for (let c = chunk + 1; c <= next; c++)
        values[k * columns + c - 1] = value + ((end - value) * (c - chunk)) / (next - chunk);
      chunk = next;
      value = end;
    }
  }
  return { rows, columns, values };
}

/** Laws from the roofline's coefficients, for folders without attention.csv. */
export function rooflineLaws(
  model: ModelSpec,
  device: DeviceSpec,
  tensorParallel: number,
): { readonly decode: AttentionLaw; readonly prefill: AttentionLaw } {
  const { attention } = calibrationFor(device).base;
  const kvBytes = kvBytesPerTokenLayer(model, tensorParallel, 2);
  const flops = device.tflops * 1e12 * attention.prefill.efficiency;
  const own = attention.prefill.skipsMasked ? 0.5 : 1;
  const pair = (4 * model.heads * model.headDim) / tensorParallel / flops;
  return {
    decode: ({ rows, kv }) =>
      1e3 *
      (attention.decode.overhead +
        (rows * kv * kvBytes) / (device.memoryBandwidth * attention.decode.efficiency)),
    prefill: ({ chunk, kv }) =>
      1e3 *
      (attention.prefill.overhead +
        chunk * (kv + own * chunk) * pair +
        ((kv + chunk) * kvBytes) / (device.memoryBandwidth * attention.prefill.kvEfficiency)),
  };
}

function work(p: Omit<AttentionPoint, "ms">): { readonly pairs: number; readonly keys: number } {
  return { pairs: p.chunk * (p.kv + p.chunk), keys: p.kv + p.chunk };
}

/** Medians of repeated points; times of 0 are failed measurements. */
function merge(points: readonly AttentionPoint[]): AttentionPoint[] {
  const groups = new Map<string, AttentionPoint[]>();
  for (const p of points) {
    if (!(p.ms > 0)) continue;
    const key = `${p.rows}/${p.chunk}/${p.kv}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [p]);
    else group.push(p);
  }
  return [...groups.values()].map((g) => ({
    ...(g[0] as AttentionPoint),
    ms: median(g.map((p) => p.ms)),
  }));
}
