import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type MillraceError, quantileSorted } from "@millrace/core";
import { describe, expect, it } from "vitest";
import { findDevice } from "../../catalogue/devices.ts";
import { findModel } from "../../catalogue/models.ts";
import { readProfileFiles, readTableFiles } from "../../node/predictor-files.ts";
import { anyTable, planOf } from "../plans.conformance.ts";
import { VidurTablesCost } from "../vidur-tables/cost.ts";
import { parseVidurTables, tokenOperators } from "../vidur-tables/tables.ts";
import { cleanCurve, interpolate } from "./curve.ts";
import { type ImportOptions, importVidurProfiles } from "./import.ts";
import { ResidualSurface } from "./surface.ts";

const data = fileURLToPath(new URL("../../../../../../shared/data/vidur", import.meta.url));
const qwen = findModel("Qwen2-7B");
const options: ImportOptions = {
  model: qwen,
  device: findDevice("a30"),
  tensorParallel: 1,
  pipelineParallel: 1,
  blockSize: 16,
  folder: "folder",
};

/** Tiny but complete profiles: linear times, one empty cell, one impossible one, one far outlier. */
function files(): Map<string, string> {
  const operators = tokenOperators.filter((o) => o !== "attn_kv_cache_save");
  const medians = operators.map((o) => `time_stats.${o}.median`);
  const mlp = [
    [
      ...medians,
      "n_head",
      "n_kv_head",
      "n_embd",
      "n_expanded_embd",
      "num_tokens",
      "num_tensor_parallel_workers",
    ].join(","),
  ];
  for (const tokens of [1, 8, 16, 64, 128, 256, 512, 1024, 2048, 4096]) {
    const cells = operators.map((o) => {
      if (o === "attn_pre_proj" && tokens === 64) return "";
      if (o === "mlp_up_proj" && tokens === 512) return "0.0001";
      if (o === "add" && tokens === 128) return "900";
      return String(1 + tokens / 100);
    });
    mlp.push([...cells, 28, 4, 3584, 18944, tokens, 1].join(","));
  }
  const attention = [
    "time_stats.attn_kv_cache_save.median,time_stats.attn_prefill.median,time_stats.attn_decode.median,n_embd,n_q_head,n_kv_head,block_size,num_tensor_parallel_workers,batch_size,prefill_chunk_size,kv_cache_size",
  ];
  for (const batch of [1, 4, 16])
    for (const kv of [64, 512, 4096])
      attention.push(
        [0.003, 0, 0.02 + batch * kv * 2e-6, 3584, 28, 4, 16, 1, batch, 0, kv].join(","),
      );
  for (const chunk of [64, 256, 1024, 4096])
    for (const kv of [0, 1024])
      attention.push(
        [
          0.003 + chunk * 1e-6,
          0.05 + chunk * (kv + chunk) * 1e-7,
          0,
          3584,
          28,
          4,
          16,
          1,
          1,
          chunk,
          kv,
        ].join(","),
      );
  const link = (collective: string): string =>
    [
      `,time_stats.${collective}.median,num_workers,size,collective,devices_per_node`,
      ...[2048, 2 ** 20, 2 ** 26].map(
        (size, i) => `${i},${0.01 + size / 1e8},2,${size},${collective},2`,
      ),
    ].join("\n");
  return new Map([
    ["mlp.csv", mlp.join("\n")],
    ["attention.csv", attention.join("\n")],
    ["all_reduce.csv", link("all_reduce")],
    ["send_recv.csv", link("send_recv")],
  ]);
}

describe("importVidurProfiles", () => {
  it("joins measured points by straight lines, without the empty, impossible and far ones", () => {
    const tables = importVidurProfiles(files(), options);
    for (const operator of ["attn_pre_proj", "mlp_up_proj", "add"] as const) {
      expect(tables.token[operator][63], operator).toBeCloseTo(1.64, 10);
      expect(tables.token[operator][511], operator).toBeCloseTo(6.12, 10);
      expect(tables.token[operator][127], operator).toBeCloseTo(2.28, 10);
    }
    expect(tables.source).toContain("2 medians");
    expect(tables.decode.rows).toBe(16);
    const at = (batch: number, kv: number): number =>
      tables.decode.values[(batch - 1) * tables.decode.columns + kv / 64] as number;
    expect(at(4, 512)).toBeCloseTo(0.02 + 4 * 512 * 2e-6, 6);
    expect(at(8, 1024)).toBeCloseTo(0.02 + 8 * 1024 * 2e-6, 3);
  });

  it("takes attention from the roofline where the folder has none, and says so", () => {
    const some = files();
    some.delete("attention.csv");
    const tables = importVidurProfiles(some, options);
    expect(tables.unfitted.join()).toContain("attention");
    const cost = new VidurTablesCost(tables, options);
    expect(cost.stepSeconds(planOf([[0, 512]], [900]), anyTable, 0)).toBeGreaterThan(0);
  });

  it("reads collectives by bytes per token", () => {
    const some = files();
    const mlp = some.get("mlp.csv") ?? "";
    some.set("mlp.csv", mlp.replaceAll(/,1$/gm, ",2"));
    some.delete("attention.csv");
    const tables = importVidurProfiles(some, {
      ...options,
      tensorParallel: 2,
      pipelineParallel: 2,
    });
    const bytes = 1000 * 2 * 3584;
    expect(tables.allReduce?.[999]).toBeCloseTo(0.01 + bytes / 1e8, 6);
    expect(tables.sendRecv?.[999]).toBeCloseTo(0.01 + bytes / 1e8, 6);
  });

  const damage: [string, (f: Map<string, string>) => void, string, (string | number)[]][] = [
    ["no mlp.csv", (f) => f.delete("mlp.csv"), "no mlp.csv", ["folder/mlp.csv"]],
    [
      "a missing column",
      (f) => f.set("mlp.csv", (f.get("mlp.csv") ?? "").replace("mlp_act.median", "x")),
      "no column time_stats.mlp_act.median",
      ["folder/mlp.csv", 1, 1],
    ],
    [
      "a cell that is no number",
      (f) =>
        f.set("attention.csv", (f.get("attention.csv") ?? "").replace("0.003,0,", "0.003,fast,")),
      '"fast"',
      ["folder/attention.csv", 2, 7],
    ],
    [
      "another model's rows",
      (f) => f.set("mlp.csv", (f.get("mlp.csv") ?? "").replaceAll("3584", "4096")),
      "n_embd 3584; it has 4096",
      ["folder/mlp.csv"],
    ],
    [
      "a Git LFS pointer",
      (f) => f.set("attention.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
      "Git LFS pointer",
      ["folder/attention.csv", 1, 1],
    ],
    [
      "a short row",
      (f) => f.set("mlp.csv", `${f.get("mlp.csv")}\n1,2,3`),
      "cells",
      ["folder/mlp.csv", 12, 1],
    ],
  ];
  it.each(damage)("refuses %s by place", (_, harm, words, [file, line, column]) => {
    const some = files();
    harm(some);
    try {
      importVidurProfiles(some, options);
      expect.unreachable();
    } catch (error) {
      const { code, message, at } = error as MillraceError;
      expect(code).toBe("PROFILE_INVALID");
      expect(message).toContain(words);
      expect(at?.file).toBe(file);
      if (line !== undefined) expect([at?.line, at?.column]).toEqual([line, column]);
    }
  });
});

describe.skipIf(!existsSync(data))("Vidur's A30 profiles (need ../shared/data)", () => {
  const folder = `${data}/profiling/compute/a30/Qwen/Qwen-2-7B`;

  it("give the whole steps of Vidur's forests within 5 %, and products that a tensor core can do", async () => {
    const ours = importVidurProfiles(await readProfileFiles(folder, "a30"), { ...options, folder });
    const theirs = parseVidurTables(
      await readTableFiles(`${data}/tables`, "default"),
      "default",
      data,
    );
    const a = new VidurTablesCost(ours, options);
    const b = new VidurTablesCost(theirs, options);
    const errors: number[] = [];
    for (const rows of [0, 1, 8, 32, 48])
      for (const context of [100, 1000, 3000])
        for (const chunk of [0, 64, 256, 512, 1024, 2048]) {
          if (rows + chunk === 0) continue;
          const plan = planOf(chunk === 0 ? [] : [[0, chunk]], Array(rows).fill(context));
          const expected = b.stepSeconds(plan, anyTable, 0);
          errors.push(Math.abs(a.stepSeconds(plan, anyTable, 0) / expected - 1));
        }
    expect(quantileSorted(Float64Array.from(errors).sort(), 0.5)).toBeLessThan(0.05);
    // 1.7 us medians of a product that needs 270 us at peak: the forest has learned them
    const atPeak = (2 * 1200 * 3584 * 4608) / 165e12 / 1e-3;
    expect(theirs.token.attn_pre_proj[1199]).toBeLessThan(atPeak / 10);
    expect(ours.token.attn_pre_proj[1199]).toBeGreaterThan(atPeak);
  });

  it("find collectives in Vidur's folder layout", async () => {
    const path = `${data}/profiling/compute/a100/meta-llama/Llama-2-70b-hf`;
    const found = await readProfileFiles(path, "a100-80gb");
    expect([...found.keys()].sort()).toEqual(["all_reduce.csv", "mlp.csv", "send_recv.csv"]);
  });
});

describe("curves and surfaces", () => {
  it("go on beyond their ends with the last slope, never falling", () => {
    const rising = [1, 2, 3, 4].map((x) => ({ x, y: 2 * x }));
    expect(interpolate(rising, 10)).toBe(20);
    expect(interpolate(rising, 0)).toBe(2);
    const falling = [1, 2, 3, 4].map((x) => ({ x, y: 10 - x }));
    expect(interpolate(falling, 10)).toBe(6);
  });

  it("take the median of repeats", () => {
    const points = [1, 2, 9].map((y) => ({ x: 5, y }));
    expect(cleanCurve(points, () => 0).points).toEqual([{ x: 5, y: 2 }]);
  });

  it("pass through their points and stay between them", () => {
    const surface = new ResidualSurface([
      { x: 0, y: 0, value: 1 },
      { x: 1, y: 0, value: 3 },
    ]);
    expect(surface.at(0, 0)).toBeCloseTo(1, 6);
    expect(surface.at(0.5, 0)).toBeCloseTo(2, 6);
    expect(surface.at(100, 0)).toBeLessThan(3);
    expect(new ResidualSurface([]).at(0, 0)).toBe(0);
  });
});
