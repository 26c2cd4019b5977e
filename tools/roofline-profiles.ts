/** Reads Vidur's profile files for tools/fit-roofline.ts. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type CsvTable, parseCsv } from "@millrace/core";
import type { FitError } from "@millrace/serving";
import type { Elementwise, LinkFit } from "../packages/sim/src/predictor/roofline/calibration.ts";
import {
  type BytePoint,
  fitBytes,
  type GemmPoint,
} from "../packages/sim/src/predictor/roofline/fit.ts";
import type { Peaks } from "../packages/sim/src/predictor/roofline/gemm.ts";

/** Profiles are in milliseconds. */
export const MS = 1e-3;

/** A CSV file of the folder. */
export function read(folder: string, path: string): CsvTable {
  return parseCsv(readFileSync(join(folder, path), "utf8"), path, "PROFILE_INVALID");
}

/** A column as a function of the row. */
export function column(table: CsvTable, name: string): (row: number) => number {
  const at = table.column(name);
  return (row) => table.number(row, at);
}

/** Products, element-wise operators, and how many medians were impossible. */
export interface MlpProfile {
  readonly gemm: GemmPoint[];
  readonly bytes: Record<Exclude<Elementwise, "kv_save">, BytePoint[]>;
  dropped: number;
}

/** Points of mlp.csv files. Medians faster than the device's peak allows are profiler failures and are dropped. */
export function readMlp(folder: string, files: readonly string[], peaks: Peaks): MlpProfile {
  const out: MlpProfile = {
    gemm: [],
    bytes: { norm: [], add: [], act: [], rope: [], emb: [] },
    dropped: 0,
  };
  for (const file of files) {
    const table = read(folder, file);
    const of = (name: string) => column(table, name);
    const [E, H, KV, F, TP, M] = [
      of("n_embd"),
      of("n_head"),
      of("n_kv_head"),
      of("n_expanded_embd"),
      of("num_tensor_parallel_workers"),
      of("num_tokens"),
    ];
    const time = (operator: string) => of(`time_stats.${operator}.median`);
    const times = {
      attn_pre_proj: time("attn_pre_proj"),
      attn_post_proj: time("attn_post_proj"),
      mlp_up_proj: time("mlp_up_proj"),
      mlp_down_proj: time("mlp_down_proj"),
      norm: time("input_layernorm"),
      add: time("add"),
      act: time("mlp_act"),
      rope: time("attn_rope"),
      emb: time("emb"),
    };
    for (let r = 0; r < table.rows; r++) {
      const [e, h, f, tp, m] = [E(r), H(r), F(r), TP(r), M(r)];
      const hd = e / h;
      const kv = Math.ceil(KV(r) / tp);
      const product = (operator: keyof typeof times, k: number, n: number): void => {
        const seconds = times[operator](r) * MS;
        if (!(seconds > 0)) return;
        if (seconds < (2 * m * k * n) / peaks.flops) out.dropped++;
        else out.gemm.push({ group: `${file} TP ${tp}`, operator, m, k, n, seconds });
      };
      product("attn_pre_proj", e, (h / tp + 2 * kv) * hd);
      product("attn_post_proj", e / tp, e);
      product("mlp_up_proj", e, (2 * f) / tp);
      product("mlp_down_proj", f / tp, e);
      const moved = {
        norm: 4 * m * e,
        add: 6 * m * e,
        act: (6 * m * f) / tp,
        rope: 4 * m * (h / tp + kv) * hd,
        emb: 4 * m * e,
      };
      for (const name of ["norm", "add", "act", "rope", "emb"] as const) {
        const seconds = times[name](r) * MS;
        if (seconds > 0) out.bytes[name].push({ bytes: moved[name], seconds });
      }
    }
  }
  return out;
}

/** One fit per group size; allReduce bytes are what one device puts on the wire. */
export function readLink(
  folder: string,
  file: string,
  collective: "all_reduce" | "send_recv",
): { fits: LinkFit[]; errors: Record<string, FitError> } {
  const table = read(folder, file);
  const [workers, perServer, size, ms] = [
    column(table, "num_workers"),
    column(table, "devices_per_node"),
    column(table, "size"),
    column(table, `time_stats.${collective}.median`),
  ];
  const groups = new Map<string, BytePoint[]>();
  for (let r = 0; r < table.rows; r++) {
    const n = workers(r);
    const factor = collective === "all_reduce" ? (2 * (n - 1)) / n : 1;
    const key = `${n}/${perServer(r)}`;
    const points = groups.get(key) ?? [];
    points.push({ bytes: factor * size(r), seconds: ms(r) * MS });
    groups.set(key, points);
  }
  const fits: LinkFit[] = [];
  const errors: Record<string, FitError> = {};
  for (const [key, points] of groups) {
    const [n = 0, within = 0] = key.split("/").map(Number);
    const { overhead, rate, error } = fitBytes(points);
    fits.push({ workers: n, perServer: within, overhead, rate });
    errors[`${collective} ${n} devices, ${within} per server`] = error;
  }
  fits.sort((a, b) => a.workers - b.workers || a.perServer - b.perServer);
  return { fits, errors };
}
