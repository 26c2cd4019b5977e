import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MillraceError } from "@millrace/core";
import type { StepPlan } from "@millrace/serving";
import { beforeAll, describe, expect, it } from "vitest";
import { readTableFiles } from "../../node/predictor-files.ts";
import type { ModelSpec } from "../../types.ts";
import { anyTable, planOf } from "../plans.conformance.ts";
import { VidurTablesCost } from "./cost.ts";
import { parseVidurTables, type TableFiles, tokenOperators } from "./tables.ts";

const folder = fileURLToPath(
  new URL("../../../../../../shared/data/vidur/tables", import.meta.url),
);
const present = existsSync(folder);
const qwen: ModelSpec = {
  name: "Qwen/Qwen2-7B",
  layers: 28,
  hidden: 3584,
  heads: 28,
  kvHeads: 4,
  headDim: 128,
  ffn: 18944,
  gated: true,
  vocab: 152064,
  tiedEmbeddings: false,
  postAttentionNorm: true,
  maxContext: 32768,
  source: "test",
};
const table = anyTable;
const plan = planOf;

/** Small tables where every entry of an operator is its own round number. */
function syntheticFiles(): Map<string, Uint8Array> {
  const shapes: Record<string, number[]> = { attn_decode: [4, 3], attn_prefill: [3, 32] };
  for (const operator of tokenOperators) shapes[operator] = [32];
  shapes.all_reduce = [32];
  shapes.send_recv = [32];
  const files = new Map<string, Uint8Array>();
  files.set("t.json", new TextEncoder().encode(JSON.stringify(shapes)));
  for (const [operator, shape] of Object.entries(shapes)) {
    const values = Float64Array.from(
      { length: shape.reduce((a, b) => a * b) },
      (_, i) => 1 + i / 16,
    );
    files.set(`t.${operator}.f64`, new Uint8Array(values.buffer));
  }
  return files;
}
const cost = (tensorParallel = 1, pipelineParallel = 1, files: TableFiles = syntheticFiles()) =>
  new VidurTablesCost(parseVidurTables(files, "t", "folder"), {
    model: qwen,
    tensorParallel,
    pipelineParallel,
  });

describe.skipIf(!present)("Vidur's tables against its reference run (needs ../shared/data)", () => {
  let model: VidurTablesCost;
  beforeAll(async () => {
    const tables = parseVidurTables(await readTableFiles(folder, "default"), "default", folder);
    model = new VidurTablesCost(tables, { model: qwen, tensorParallel: 1, pipelineParallel: 1 });
  });

  it("gives the first steps of the sarathi run at 1 request/s to the last bit", () => {
    // requests 0 (395 prompt tokens) and 1 (1030) of reference/sarathi_q1.0_n512_requests.csv, chunk 512
    let now = 1.020060287274801;
    now += model.stepSeconds(plan([[0, 395]]), table, 0);
    expect(now).toBe(1.0800632995516417);
    now += model.stepSeconds(plan([[0, 511]], [396]), table, 0);
    now += model.stepSeconds(plan([[511, 511]], [397]), table, 0);
    now += model.stepSeconds(plan([[1022, 8]], [398]), table, 0);
    expect(now).toBe(1.2509759928445923);
    expect(model.extrapolatedSteps).toBe(0);
  });

  it("goes on where Vidur stops with a KeyError, and counts it", () => {
    const inside = model.stepSeconds(plan([[0, 4096]]), table, 0);
    const outside = model.stepSeconds(plan([[0, 8192]]), table, 0);
    expect(outside).toBeGreaterThan(1.9 * inside);
    expect(outside).toBeLessThan(4 * inside);
    expect(model.extrapolatedSteps).toBe(1);
    const edge = model.stepSeconds(plan([], Array(128).fill(4096)), table, 0);
    const more = model.stepSeconds(plan([], Array(256).fill(4096)), table, 0);
    expect(more).toBeGreaterThan(edge);
    expect(model.extrapolatedSteps).toBe(2);
  });
});

describe("VidurTablesCost", () => {
  it("charges collectives twice per layer and send/recv on all stages but the last", () => {
    const batch = plan([[0, 16]]);
    const alone = cost(1, 2).stepSeconds(batch, table, 1);
    const sending = cost(1, 2).stepSeconds(batch, table, 0);
    expect(sending - alone).toBeCloseTo((1 + 15 / 16) * 1e-3, 12);
    const parallel = cost(2, 2).stepSeconds(batch, table, 1);
    expect(parallel - alone).toBeCloseTo(2 * 14 * (1 + 15 / 16 + 0.02) * 1e-3, 12);
  });

  it("adds the batching overhead of grouped-query models from two rows on", () => {
    const model = cost();
    const time = (p: StepPlan, operator: string): number | undefined =>
      model.breakdown(p, table, 0).find((t) => t.operator === operator)?.seconds;
    expect(time(plan([], [64]), "attn_decode")).toBeCloseTo(28e-3 * (1 + 1 / 16), 12);
    expect(time(plan([], [64, 65]), "attn_decode")).toBeCloseTo(28e-3 * 1.1 * (1 + 4 / 16), 12);
    expect(
      time(
        plan([
          [0, 3],
          [0, 4],
        ]),
        "attn_prefill",
      ),
    ).toBeCloseTo(28e-3 * 1.1 * (1 + 4 / 16), 12);
  });

  it("breaks a step into operators that sum to it", () => {
    const model = cost(2, 2);
    const batch = plan([[3, 9]], [70, 20]);
    const parts = model.breakdown(batch, table, 0);
    const sum = parts.reduce((total, part) => total + part.seconds, 0);
    expect(sum).toBeCloseTo(model.stepSeconds(batch, table, 0), 12);
  });

  it.each([
    ["a missing table", (f: Map<string, Uint8Array>) => f.delete("t.add.f64"), "folder/t.add.f64"],
    [
      "a missing list of shapes",
      (f: Map<string, Uint8Array>) => f.delete("t.json"),
      "folder/t.json",
    ],
    [
      "a truncated table",
      (f: Map<string, Uint8Array>) => f.set("t.add.f64", new Uint8Array(16)),
      "folder/t.add.f64",
    ],
    [
      "an entry that is not a number",
      (f: Map<string, Uint8Array>) =>
        f.set("t.attn_rope.f64", new Uint8Array(new Float64Array(32).fill(Number.NaN).buffer)),
      "folder/t.attn_rope.f64",
    ],
  ])("refuses %s by name", (_, damage, file) => {
    const files = syntheticFiles();
    damage(files);
    const attempt = () => parseVidurTables(files, "t", "folder");
    expect(attempt).toThrow(MillraceError);
    expect(attempt).toThrow(file);
  });
});
