import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { quantileSorted } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { devices, findDevice } from "../../catalogue/devices.ts";
import { findModel, models } from "../../catalogue/models.ts";
import { planMemory } from "../../memory/plan.ts";
import { readTableFiles } from "../../node/predictor-files.ts";
import { anyTable, planOf } from "../plans.conformance.ts";
import { VidurTablesCost } from "../vidur-tables/cost.ts";
import { parseVidurTables } from "../vidur-tables/tables.ts";
import { calibrations } from "./coefficients.ts";
import { RooflineCost, type RooflineDeployment } from "./cost.ts";
import { fitBytes, fitGemm, type GemmPoint } from "./fit.ts";
import { gemmSeconds, ResidualCurve, smoothMaximum } from "./gemm.ts";

const all = { host: true, lmHead: true, sampling: true };
const none = { host: false, lmHead: false, sampling: false };
const deploy = (more: Partial<RooflineDeployment> = {}): RooflineDeployment => ({
  model: findModel("llama-3-70b"),
  device: findDevice("h100"),
  tensorParallel: 4,
  pipelineParallel: 1,
  weightBytes: 2,
  kvBytes: 2,
  overheads: none,
  ...more,
});
const seconds = (d: RooflineDeployment, plan = planOf([], [512]), stage = 0): number =>
  new RooflineCost(d).stepSeconds(plan, anyTable, stage);

describe("RooflineCost", () => {
  it("is bounded below by the weights' way through memory and the products' way through the tensor cores", () => {
    const decode = seconds(deploy());
    const weights = 2 * 70.55e9;
    expect(decode).toBeGreaterThan((0.95 * weights) / 4 / 3.35e12);
    expect(decode).toBeLessThan((2.5 * weights) / 4 / 3.35e12);
    const prefill = seconds(deploy(), planOf([[0, 2048]]));
    const ideal = (2 * 68.5e9 * 2048) / 4 / 989.5e12;
    expect(prefill).toBeGreaterThan(ideal);
    expect(prefill).toBeLessThan(2.5 * ideal);
  });

  it("breaks every stage into operators that sum to it", () => {
    const model = new RooflineCost(deploy({ pipelineParallel: 2, overheads: all }));
    const plan = planOf(
      [
        [100, 300],
        [0, 50],
      ],
      [700, 80, 3],
    );
    for (const stage of [0, 1]) {
      const sum = model.breakdown(plan, anyTable, stage).reduce((t, o) => t + o.seconds, 0);
      const step = model.stepSeconds(plan, anyTable, stage);
      // the table joins token counts by straight lines
      expect(Math.abs(sum / step - 1)).toBeLessThan(0.01);
    }
    const first = model.breakdown(plan, anyTable, 0).map((o) => o.operator);
    const last = model.breakdown(plan, anyTable, 1).map((o) => o.operator);
    expect(first).toEqual(expect.arrayContaining(["emb", "host", "send_recv", "all_reduce"]));
    expect(last).toEqual(expect.arrayContaining(["lm_head", "sampling"]));
    expect(first).not.toContain("lm_head");
    expect(last).not.toContain("send_recv");
  });

  it("charges each overhead only when asked to", () => {
    const bare = seconds(deploy());
    for (const key of ["host", "lmHead", "sampling"] as const)
      expect(seconds(deploy({ overheads: { ...none, [key]: true } }))).toBeGreaterThan(bare);
  });

  it("sums contexts, so one long sequence costs what it reads", () => {
    const cost = new RooflineCost(deploy());
    const skewed = cost.stepSeconds(planOf([], [8000, 10, 10, 10]), anyTable, 0);
    const even = cost.stepSeconds(planOf([], [2007, 2008, 2007, 2008]), anyTable, 0);
    expect(skewed).toBeCloseTo(even, 12);
  });

  it("reads only the experts that tokens choose", () => {
    const moe = (tokens: number): number =>
      seconds(
        deploy({ model: findModel("Qwen3-30B-A3B"), tensorParallel: 1 }),
        planOf([], Array(tokens).fill(1)),
      );
    // 8 of 128 experts for one token, nearly all of them for 256
    expect(moe(256) / moe(1)).toBeGreaterThan(3);
    expect(moe(256) / moe(1)).toBeLessThan(16);
  });

  it("gains from smaller weights and KV, and says that this is not measured", () => {
    const half = deploy({ weightBytes: 0.5, kvBytes: 1 });
    const plan = planOf([], Array(64).fill(2000));
    expect(seconds(half, plan)).toBeLessThan(seconds(deploy(), plan));
    expect(new RooflineCost(half).unfitted.join()).toContain("0.5-byte weights");
    expect(new RooflineCost(half).unfitted.join()).toContain("1-byte KV");
  });

  it("pays for leaving the server", () => {
    const device = { ...findDevice("h100"), devicesPerServer: 2 };
    expect(seconds(deploy({ device }))).toBeGreaterThan(seconds(deploy()));
    const pipeline = { pipelineParallel: 2, tensorParallel: 2 };
    const plan = planOf([[0, 2048]]);
    expect(seconds(deploy({ ...pipeline, device }), plan)).toBeGreaterThan(
      seconds(deploy(pipeline), plan),
    );
  });

  it("flags devices that were never measured, and steps beyond its table", () => {
    const cost = new RooflineCost(deploy({ device: findDevice("b200") }));
    expect(cost.unfitted.join()).toContain("b200");
    cost.stepSeconds(planOf([[0, 4000]]), anyTable, 0);
    expect(cost.extrapolatedSteps).toBe(0);
    cost.stepSeconds(planOf([[0, 20_000]]), anyTable, 0);
    expect(cost.extrapolatedSteps).toBe(1);
  });

  it("is finite, positive and grows with the work, for all models and devices", () => {
    const shape = fc.record({
      model: fc.constantFrom(...models),
      device: fc.constantFrom(...devices),
      tensorParallel: fc.constantFrom(1, 2, 4, 8, 16),
      weightBytes: fc.constantFrom(2, 1, 0.5),
      kvBytes: fc.constantFrom(2, 1),
      rows: fc.integer({ min: 1, max: 300 }),
      context: fc.integer({ min: 1, max: 9000 }),
      chunk: fc.integer({ min: 1, max: 9000 }),
    });
    fc.assert(
      fc.property(shape, ({ rows, context, chunk, ...rest }) => {
        const cost = new RooflineCost({ ...deploy({ overheads: all }), ...rest });
        const decode = Array(rows).fill(context);
        const time = (p: ReturnType<typeof planOf>): number => cost.stepSeconds(p, anyTable, 0);
        const alone = time(planOf([], decode));
        expect(alone).toBeGreaterThan(0);
        expect(alone).toBeLessThan(1e4);
        const longer = time(planOf([], decode.concat(context)));
        expect(longer).toBeGreaterThan(0.9 * alone);
        const prefill = time(planOf([[0, chunk]]));
        expect(time(planOf([[context, chunk]]))).toBeGreaterThanOrEqual(prefill);
        expect(time(planOf([[0, chunk]], decode))).toBeGreaterThan(0.9 * prefill);
      }),
      { numRuns: 200 },
    );
  });
});

const folder = fileURLToPath(
  new URL("../../../../../../shared/data/vidur/tables", import.meta.url),
);
describe.skipIf(!existsSync(folder))(
  "roofline beside Vidur's A30 tables (needs ../shared/data)",
  () => {
    it("agrees on whole steps of Qwen2-7B within 20 % for nine steps in ten", async () => {
      const tables = parseVidurTables(await readTableFiles(folder, "default"), "default", folder);
      const model = findModel("Qwen2-7B");
      const one = { model, tensorParallel: 1, pipelineParallel: 1 };
      const vidur = new VidurTablesCost(tables, one);
      const roofline = new RooflineCost({ ...deploy(one), device: findDevice("a30") });
      const errors: number[] = [];
      for (const rows of [0, 1, 8, 32, 48])
        for (const context of [100, 1000, 3000])
          for (const chunk of [0, 64, 256, 512, 1024, 2048]) {
            if (rows + chunk === 0) continue;
            const plan = planOf(chunk === 0 ? [] : [[0, chunk]], Array(rows).fill(context));
            const expected = vidur.stepSeconds(plan, anyTable, 0);
            errors.push(Math.abs(roofline.stepSeconds(plan, anyTable, 0) / expected - 1));
          }
      const sorted = Float64Array.from(errors).sort();
      expect(quantileSorted(sorted, 0.5)).toBeLessThan(0.1);
      expect(quantileSorted(sorted, 0.9)).toBeLessThan(0.2);
    });
  },
);

describe("fits", () => {
  const peaks = { flops: 300e12, bandwidth: 2e12 };
  const truth = {
    overhead: 5e-6,
    efficiency: 0.7,
    bandwidthEfficiency: 0.85,
    fill: 20,
    sharpness: 3,
  };

  it("find the coefficients that made the points", () => {
    const points: GemmPoint[] = [];
    for (const [k, n] of [
      [4096, 4096],
      [4096, 22016],
      [11008, 4096],
    ] as const)
      for (let m = 1; m <= 4096; m *= 2)
        points.push({
          group: "",
          operator: "",
          m,
          k,
          n,
          seconds: gemmSeconds(truth, peaks, m, k, n, 2),
        });
    const found = fitGemm(points, peaks);
    expect(found.efficiency).toBeCloseTo(truth.efficiency, 1);
    expect(found.bandwidthEfficiency).toBeCloseTo(truth.bandwidthEfficiency, 1);
    const bytes = [1e3, 1e5, 1e6, 1e7].map((b) => ({ bytes: b, seconds: 2e-6 + b / 1e12 }));
    const line = fitBytes(bytes);
    expect(line.overhead).toBeCloseTo(2e-6, 8);
    expect(line.rate / 1e12).toBeCloseTo(1, 2);
  });

  it("borrow residuals from near shapes, fading with distance", () => {
    const residuals = { knots: [1, 100], shapes: [{ k: 100, n: 100, percent: [10, -10] }] };
    expect(new ResidualCurve(residuals, 100, 100).factor(1)).toBeCloseTo(1.1, 12);
    expect(new ResidualCurve(residuals, 100, 100).factor(10)).toBeCloseTo(Math.sqrt(0.99), 12);
    const near = new ResidualCurve(residuals, 110, 100).factor(1);
    expect(near).toBeGreaterThan(1.02);
    expect(near).toBeLessThan(1.1);
    expect(new ResidualCurve(residuals, 1e6, 100).factor(1)).toBeCloseTo(1, 9);
  });

  it("join two roofs between the larger and the sum", () => {
    expect(smoothMaximum(3, 4, 2)).toBe(5);
    expect(smoothMaximum(0, 0, 8)).toBe(0);
    expect(smoothMaximum(1e-6, 1e-9, 8)).toBeCloseTo(1e-6, 12);
  });
});

describe("coefficients", () => {
  it("name catalogue devices and lie in physical ranges", () => {
    for (const c of calibrations) {
      expect(findDevice(c.device).name).toBe(c.device);
      for (const share of [c.gemm.efficiency, c.attention.prefill.efficiency]) {
        expect(share).toBeGreaterThan(0.3);
        expect(share).toBeLessThan(1);
      }
      expect(c.gemm.bandwidthEfficiency).toBeLessThan(1.1);
      expect(c.allReduce.length).toBeGreaterThan(0);
    }
  });

  it("fit a deployment that the planner accepts and one that it refuses alike", () => {
    const memory = { maxTokensInBatch: 2048, batchSizeCap: 64, maxRequestTokens: 4096 };
    const kv = { type: "paged", blockSize: 16, pageBytes: 2 ** 21, layout: "per-layer" } as const;
    const d = deploy({ tensorParallel: 1 });
    const plan = planMemory(d.model, d.device, { ...d, ...memory, kv, compatibility: "none" });
    expect(plan.fits).toBe(false);
    expect(seconds(d)).toBeGreaterThan(0);
  });
});
