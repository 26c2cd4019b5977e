import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { describe, expect, it } from "vitest";
import { findDevice } from "../catalogue/devices.ts";
import { findModel } from "../catalogue/models.ts";
import { readPredictorSource } from "../node/predictor-files.ts";
import { type CostConfig, createCostModel, neededSource } from "./index.ts";
import { anyTable, planOf } from "./plans.conformance.ts";
import { tokenOperators } from "./vidur-tables/tables.ts";

const config = (more: Partial<CostConfig> = {}): CostConfig => ({
  model: findModel("Qwen2-7B"),
  device: findDevice("a30"),
  tensorParallel: 1,
  pipelineParallel: 1,
  weightBytes: 2,
  kvBytes: 2,
  predictor: { type: "roofline", path: null, prefix: "default" },
  overheads: { host: true, lmHead: true, sampling: true },
  compatibility: "none",
  kv: { blockSize: 16 },
  ...more,
});
const tables = { type: "vidur-tables", path: "t", prefix: "t" } as const;
const plan = planOf([[0, 20]], [30, 60]);

/** Tables of ones. */
function tableFiles(): Map<string, Uint8Array> {
  const shapes: Record<string, number[]> = { attn_decode: [4, 3], attn_prefill: [3, 32] };
  for (const operator of tokenOperators) shapes[operator] = [32];
  const files = new Map([["t.json", new TextEncoder().encode(JSON.stringify(shapes))]]);
  for (const [operator, shape] of Object.entries(shapes)) {
    const ones = new Float64Array(shape.reduce((a, b) => a * b)).fill(1);
    files.set(`t.${operator}.f64`, new Uint8Array(ones.buffer));
  }
  return files;
}

describe("createCostModel", () => {
  it("builds the roofline from nothing", () => {
    const cost = createCostModel(config(), { kind: "none" });
    expect(cost.stepSeconds(plan, anyTable, 0)).toBeGreaterThan(0);
    expect(cost.describe()).toContain("a30");
    expect(neededSource("roofline")).toBe("none");
  });

  it("adds what Vidur leaves out to its tables, unless it has to be Vidur", () => {
    const source = { kind: "tables", files: tableFiles() } as const;
    const full = createCostModel(config({ predictor: tables }), source);
    const vidur = createCostModel(config({ predictor: tables, compatibility: "vidur" }), source);
    const bare = vidur.stepSeconds(plan, anyTable, 0);
    // 28 layers of 10 token-level operators and two attentions with 10 % for batching, 1 ms each
    expect(bare).toBeCloseTo(28 * (10 + 1.1 + 1) * 1e-3, 12);
    const more = full.stepSeconds(plan, anyTable, 0) - bare;
    expect(more).toBeGreaterThan(0.5e-3);
    expect(more).toBeLessThan(5e-3);
    const operators = full.breakdown(plan, anyTable, 0);
    const sum = operators.reduce((total, o) => total + o.seconds, 0);
    expect(sum).toBeCloseTo(full.stepSeconds(plan, anyTable, 0), 5);
    expect(operators.map((o) => o.operator)).toEqual(
      expect.arrayContaining(["attn_pre_proj", "lm_head", "sampling", "host", "emb"]),
    );
    expect(full.unfitted.join()).toContain("host");
    full.stepSeconds(planOf([[0, 1000]]), anyTable, 0);
    expect(full.extrapolatedSteps).toBe(1);
  });

  it("refuses a source of another kind", () => {
    const attempt = () => createCostModel(config({ predictor: tables }), { kind: "none" });
    expect(attempt).toThrow(MillraceError);
    expect(attempt).toThrow("vidur-tables needs files");
  });
});

describe("readPredictorSource", () => {
  it("reads what each predictor needs, and names the path that cannot be read", async () => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-"));
    try {
      for (const [name, bytes] of tableFiles()) await writeFile(join(folder, name), bytes);
      const predictor = { ...tables, path: folder };
      const source = await readPredictorSource(predictor, "a30");
      const cost = createCostModel(config({ predictor }), source);
      expect(cost.stepSeconds(plan, anyTable, 0)).toBeGreaterThan(0);
      const missing = { ...predictor, path: join(folder, "nowhere") };
      await expect(readPredictorSource(missing, "a30")).rejects.toThrow("nowhere");
      const profile = { type: "profile", path: join(folder, "p.json"), prefix: "" } as const;
      await expect(readPredictorSource(profile, "a30")).rejects.toThrow("p.json");
      await expect(readPredictorSource({ ...profile, path: null }, "a30")).rejects.toThrow(
        "no path",
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
