import { formatPlace, MillraceError } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import fc from "fast-check";
import { expect, test } from "vitest";
import { findDevice } from "../catalogue/devices.ts";
import { findModel } from "../catalogue/models.ts";
import {
  kvGeometryOf,
  planSchema,
  resolvePlan,
  resolveSimulation,
  resolveWorkload,
  runSchema,
  runWarnings,
  schedulerTypes,
} from "./index.ts";

const context = { findModel, findDevice, longestRequest: null };
const base = { model: "llama-3-8b", device: "a100-80gb" };
const resolve = (more: object = {}) =>
  resolveSimulation(runSchema.parse({ ...base, ...more }), context);
const problems = (
  value: unknown,
  schema = runSchema as { safeParse: typeof runSchema.safeParse },
) => {
  const result = schema.safeParse(value);
  return result.success
    ? []
    : result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
};

/** What is said about a run.yaml that starts with model and device on its first line. */
const failure = (text: string): string => {
  try {
    parseConfig(`{model: m, device: d}\n`.replace("}", `,\n${text}}`), {
      file: "run.yaml",
      schema: runSchema,
    });
  } catch (error) {
    if (!(error instanceof MillraceError) || error.at === undefined) throw error;
    const hint = error.hint === undefined ? "" : ` | ${error.hint}`;
    return `${formatPlace(error.at)} ${error.message}${hint}`;
  }
  return "accepted";
};

test.each([
  [
    "scheduler: {type: sarathi, chnkSize: 3}",
    'run.yaml:2:28 scheduler.chnkSize: unknown key | did you mean "chunkSize"?',
  ],
  ["scheduler: {type: sarathy}", "run.yaml:2:19 scheduler.type: expected one of"],
  [
    "scheduler: {type: orca, tile: 8}",
    "run.yaml:2:31 scheduler.tile: orca has no such knob | tile belongs to sarathi",
  ],
  ["slo: {ttftms: 3}", 'run.yaml:2:7 slo.ttftms: unknown key | did you mean "ttftMs"?'],
  ["slo: {ttftMs: {p91: 3}}", 'run.yaml:2:16 slo.ttftMs.p91: unknown key | did you mean "p90"?'],
  [
    "predictor: vidur-tables",
    "run.yaml:2:12 predictor: vidur-tables reads files, and none are named | set predictor.path",
  ],
  ["shceduler: orca", 'run.yaml:2:1 shceduler: unknown key | did you mean "scheduler"?'],
  [
    "workload: {shape: a, arrivals: {type: poison, qps: 1}}",
    "run.yaml:2:39 workload.arrivals.type: expected one of",
  ],
])("%s", (text, said) => {
  expect(failure(text).slice(0, said.length)).toBe(said);
});

test("model and device are enough", () => {
  const config = resolve();
  expect(config.scheduler).toMatchObject({
    type: "vllm-v1",
    chunkSize: 2048,
    batchSizeCap: 256,
    watermark: 0.01,
    maxRequestTokens: 4096,
  });
  expect(config.kv).toMatchObject({ type: "paged", blockSize: 16, numBlocks: null });
  expect(config.overheads).toEqual({ host: true, lmHead: true, sampling: true });
  expect(config.slo).toEqual([]);
  expect(config.weightBytes).toBe(2);
});

test("Vidur mode has Vidur's defaults and leaves out what Vidur leaves out", () => {
  const config = resolve({ compatibility: "vidur", scheduler: "sarathi" });
  expect(config.scheduler.type).toBe("sarathi-serve");
  expect(config.scheduler).toMatchObject({ chunkSize: 512, batchSizeCap: 128 });
  expect(config.overheads).toEqual({ host: false, lmHead: false, sampling: false });
  expect(resolve({ compatibility: "vidur", overheads: { host: true } }).overheads.host).toBe(true);
});

test("vllm is vllm-v0, in every spelling", () => {
  expect(resolve({ scheduler: "vllm" }).scheduler.type).toBe("vllm-v0");
  expect(resolve({ scheduler: { type: "vllm" } }).scheduler.type).toBe("vllm-v0");
});

test("every scheduler takes the keys that scripts use; those it has no use for are said to be ignored", () => {
  const knobs = { chunkSize: 512, batchSizeCap: 48, maxTokensInBatch: 4096, watermark: 0.01 };
  const ignored = Object.fromEntries(
    schedulerTypes.map((type) => {
      const both = type === "vllm-v1" ? { ...knobs, maxTokensInBatch: 512 } : knobs;
      const input = runSchema.parse({ ...base, scheduler: { type, ...both } });
      expect(resolveSimulation(input, context).scheduler.batchSizeCap).toBe(48);
      return [type, runWarnings(input).map((warning) => warning.key)];
    }),
  );
  expect(ignored).toEqual({
    "vllm-v1": [],
    "vllm-v0": ["scheduler.chunkSize"],
    "sarathi-serve": ["scheduler.maxTokensInBatch"],
    sarathi: ["scheduler.maxTokensInBatch"],
    "simple-chunking": ["scheduler.maxTokensInBatch"],
    orca: ["scheduler.chunkSize", "scheduler.maxTokensInBatch", "scheduler.watermark"],
    "faster-transformer": [
      "scheduler.chunkSize",
      "scheduler.maxTokensInBatch",
      "scheduler.watermark",
    ],
    lightllm: ["scheduler.chunkSize", "scheduler.watermark"],
  });
});

test("a knob of another scheduler is an error that says whose it is", () => {
  expect(problems({ ...base, scheduler: { type: "orca", tile: 64 } })).toEqual([
    "scheduler.tile: orca has no such knob",
  ]);
  expect(problems({ ...base, scheduler: { type: "sarathi-serve", targetTbtMs: 50 } })).toEqual([
    "scheduler.targetTbtMs: needs chunking: slo",
  ]);
  expect(
    problems({ ...base, scheduler: { type: "vllm-v1", chunkSize: 1, maxTokensInBatch: 2 } }),
  ).toHaveLength(1);
});

test("orca and faster-transformer reserve a slot per request; Vidur counts them in blocks", () => {
  const kv = { numBlocks: 11_008, blockSize: 16 };
  const vidur = resolve({
    compatibility: "vidur",
    scheduler: "orca",
    kv: { ...kv, type: "paged" },
  });
  expect(vidur.kv).toMatchObject({ type: "static", numBlocks: 43 });
  expect(resolve({ scheduler: "orca", kv }).kv).toMatchObject({ type: "static", numBlocks: 43 });
  expect(resolve({ kv: { type: "static", numBlocks: 43 } }).kv.numBlocks).toBe(43);
  expect(() => resolve({ scheduler: "orca", kv: { numBlocks: 10 } })).toThrow(
    /10 blocks of 16 tokens hold no request of 4096 tokens/,
  );
});

test("plain SLO numbers and quantile maps", () => {
  const slo = { ttftMs: 2000, tbtMs: { p50: 50, "p99.9": 300, max: 900 }, fluidity: 0.9 };
  expect(resolve({ slo }).slo).toEqual([
    { metric: "ttft", quantile: 0.9, limit: 2 },
    { metric: "tbt", quantile: 0.5, limit: 0.05 },
    { metric: "tbt", quantile: 0.999, limit: 0.3 },
    { metric: "tbt", quantile: 1, limit: 0.9 },
    { metric: "fluidity", quantile: 0, limit: 0.9 },
  ]);
  expect(resolve({ slo }).fluidity).toEqual({ ttft: 2, tbt: 0.9 });
  expect(resolve({ slo, fluidity: { tbtMs: 40 } }).fluidity).toEqual({ ttft: 2, tbt: 0.04 });
  expect(problems({ ...base, slo: { ttftMs: {} } })).toEqual(["slo.ttftMs: names no quantile"]);
});

test("sizes take units", () => {
  expect(resolve({ kv: { type: "vattention", pageBytes: "64KiB" } }).kv.pageBytes).toBe(65_536);
  expect(problems({ ...base, kv: { pageBytes: "3MB" } })).toHaveLength(1);
  expect(failure("kv: {pageBytes: much}")).toBe(
    'run.yaml:2:17 kv.pageBytes: expected a size above 0 such as 512MiB or 5GB, got "much"',
  );
});

test("inline models and devices, and names of one's own", () => {
  const numbers = {
    tflops: 100,
    memoryBytes: "48GB",
    memoryBandwidth: "1TB/s",
    dollarsPerHour: 1,
  };
  const geometry = { layers: 2, hidden: 64, heads: 4, ffn: 256, vocab: 1000 };
  const config = resolve({
    model: "tiny",
    device: "mine",
    models: { tiny: geometry },
    devices: { mine: numbers },
  });
  expect(config.model).toMatchObject({ name: "tiny", kvHeads: 4, headDim: 16 });
  expect(config.device).toMatchObject({ name: "mine", memoryBytes: 48e9, memoryBandwidth: 1e12 });
  expect(resolve({ model: geometry, device: numbers }).model.name).toBe("custom");
  expect(problems({ ...base, model: { ...geometry, heads: 5 } })).toEqual([
    "model.heads: 5 heads do not divide hidden 64",
  ]);
});

test("unknown names carry the key and the place", () => {
  const input = runSchema.parse({ ...base, device: "a1000" });
  const locate = () => ({ file: "run.yaml", line: 2, column: 9 });
  try {
    resolveSimulation(input, { ...context, locate });
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    expect(error).toMatchObject({ code: "DEVICE_UNKNOWN", at: { line: 2 } });
    expect(String(error)).toContain("device: ");
  }
});

test("a model that cannot be split is refused with the divisors in the hint", () => {
  expect(() => resolve({ tensorParallel: 3 })).toThrow(/32 heads of .* cannot be split over 3/);
  expect(() => resolve({ pipelineParallel: 5 })).toThrow(/cannot be cut into 5 equal stages/);
});

test("workload short forms", () => {
  const of = (workload: unknown) => {
    const input = runSchema.parse({ ...base, workload }).workload;
    return input && resolveWorkload(input, (path) => `/dir/${path}`);
  };
  expect(of("azure-conv-2023")).toEqual({ lengths: { type: "shape", name: "azure-conv-2023" } });
  expect(of({ shape: "azure-conv-2023", qps: 3, duration: "10min" })).toEqual({
    arrivals: { type: "poisson", qps: 3 },
    lengths: { type: "shape", name: "azure-conv-2023" },
    duration: 600,
  });
  expect(of({ trace: "a.csv" })).toEqual({
    arrivals: { type: "trace", path: "/dir/a.csv" },
    lengths: { type: "trace", path: "/dir/a.csv", order: "file" },
  });
  expect(of({ trace: "a.csv", qps: 2 })).toEqual({
    arrivals: { type: "poisson", qps: 2 },
    lengths: { type: "trace", path: "/dir/a.csv", order: "shuffled" },
  });
  expect(problems({ ...base, workload: { shape: "a", trace: "b" } })).toEqual([
    "workload.trace: cannot stand beside shape",
  ]);
});

test("a plan's space: names looked up, prices laid over, each scheduler with its own values", () => {
  const input = planSchema.parse({
    model: "llama-3-70b",
    load: { qps: 10 },
    workload: "azure-conv-2023",
    prices: { h100: 2.5 },
    space: {
      devices: ["h100", "h100-80gb"],
      tensorParallel: [4],
      kv: ["paged", "vattention"],
      schedulers: ["vllm", { type: "sarathi-serve", chunkSizes: [256, 512], tile: 64 }],
      batchSizeCaps: [64],
    },
    current: { device: "a100", scheduler: { type: "vllm", batchSizeCap: 32 }, replicas: 3 },
  });
  const spec = resolvePlan(input, { lengths: { type: "shape", name: "azure-conv-2023" } }, context);
  expect(spec.space.devices).toEqual(["h100"]);
  expect(spec.devices.map((d) => [d.name, d.dollarsPerHour])).toEqual([
    ["h100", 2.5],
    ["a100-80gb", 2.21],
  ]);
  expect(spec.space.schedulers).toMatchObject([
    {
      template: { type: "vllm-v0" },
      batchSizeCaps: [64],
      kv: [{ type: "paged" }, { type: "vattention" }],
    },
    { template: { type: "sarathi-serve", tile: 64 }, chunkSizes: [256, 512] },
  ]);
  expect(spec.space.schedulers[0]?.chunkSizes).toHaveLength(1);
  expect(spec.current).toMatchObject({ replicas: 3, config: { batchSizeCap: 32, kv: "paged" } });
  expect(spec.slo).toHaveLength(2);
});

test("a scheduler is listed once", () => {
  const space = { schedulers: ["vllm-v0", "vllm"] };
  const input = planSchema.parse({ model: "llama-3-8b", load: { qps: 1 }, space });
  expect(() => resolvePlan(input, {}, context)).toThrow(/vllm-v0 is listed twice/);
});

test("the error of a predictor is what the question says, else what the profile says of itself, else 10 %", () => {
  const errorOf = (search: object, own: number | null) => {
    const input = planSchema.parse({
      ...{ model: "llama-3-8b", load: { qps: 1 }, search },
      predictor: { type: "profile", path: "p.json" },
    });
    return resolvePlan(input, {}, { ...context, predictorErrorPercent: () => own })
      .predictorErrorPercent;
  };
  expect(errorOf({ predictorErrorPercent: 3 }, 6)).toBe(3);
  expect(errorOf({}, 6)).toBe(6);
  expect(errorOf({}, null)).toBe(10);
});

test("a plan needs a load or a fleet, and an SLO", () => {
  const of = (value: object) => problems(value, planSchema as never);
  expect(of({ model: "llama-3-8b" })[0]).toContain("load: missing");
  expect(of({ model: "llama-3-8b", fleet: { device: "a100", gpus: 8 } })).toEqual([]);
  expect(of({ model: "llama-3-8b", load: { qps: 1 }, slo: {} })[0]).toContain("slo: has no entry");
});

test("what does not fit the device is impossible, unless the blocks are given", () => {
  const impossible = resolve({ model: "llama-3-70b" });
  expect(() => kvGeometryOf(impossible)).toThrow(MillraceError);
  const given = resolve({ model: "llama-3-70b", kv: { numBlocks: 100 } });
  expect(kvGeometryOf(given).geometry).toEqual({ blocks: 100, blockTokens: 16 });
});

test("any value gives a configuration or issues with a path, never a crash", () => {
  const leaf = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom("vllm", "paged", "llama-3-8b", "5GB", "vidur", "slo"),
  );
  const keys = fc.constantFrom(
    ...Object.keys(runSchema.shape),
    ...["type", "chunkSize", "numBlocks", "p90", "qps", "shape", "path", "weights"],
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof({ depthSize: "small" }, leaf, fc.array(tie("any")), tie("object")),
    object: fc.dictionary(keys, tie("any"), { maxKeys: 6 }),
  })).object;
  fc.assert(
    fc.property(value, (more) => {
      const result = runSchema.safeParse({ ...base, ...(more as object) });
      if (!result.success) {
        expect(result.error.issues.length).toBeGreaterThan(0);
        return;
      }
      try {
        resolveSimulation(result.data, context);
      } catch (error) {
        expect(error).toBeInstanceOf(MillraceError);
      }
    }),
    { numRuns: 2000 },
  );
});
