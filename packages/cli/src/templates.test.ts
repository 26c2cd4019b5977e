import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { jobsFileSchema } from "@millrace/cluster/run";
import { MillraceError } from "@millrace/core";
import { parseConfig, readConfig } from "@millrace/core/config";
import { resolveServe, serveSchema } from "@millrace/engine/config";
import { findDevice, findModel } from "@millrace/sim";
import {
  planSchema,
  resolvePlan,
  resolveSimulation,
  resolveWorkload,
  runSchema,
} from "@millrace/sim/config";
import { expandSpace } from "@millrace/sim/search";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planTemplate, runTemplate, serveTemplate } from "./templates.ts";

const context = { findModel, findDevice, longestRequest: null };

/** Reads and resolves; throws what a command would tell. */
function openRun(text: string) {
  const { value, locate } = readConfig(text, { file: "run.yaml", schema: runSchema });
  return resolveSimulation(value, { ...context, locate });
}
function openPlan(text: string) {
  const { value, locate } = readConfig(text, { file: "plan.yaml", schema: planSchema });
  const workload = value.workload === undefined ? {} : resolveWorkload(value.workload);
  return resolvePlan(value, workload, { ...context, locate });
}

function openServe(text: string) {
  const { value } = readConfig(text, { file: "serve.yaml", schema: serveSchema });
  return resolveServe(value, {
    cores: 2,
    modelContextTokens: 4096,
    tileTokens: 64,
    filePath: (path) => path,
    readText: () => "key\n",
    readProfile: () => {
      throw new Error("no profile is named");
    },
  });
}

test("templates are valid and mean what their comments say", () => {
  const run = openRun(runTemplate("x"));
  expect(run).toMatchObject({
    replicas: 2,
    scheduler: { type: "vllm-v1", chunkSize: 2048, batchSizeCap: 256 },
    kv: { type: "paged", blockSize: 16 },
    routing: "round-robin",
    predictor: { type: "roofline" },
    overheads: { host: true, lmHead: true, sampling: true },
  });
  const plan = openPlan(planTemplate("x"));
  expect(plan.confirmation).toEqual({ requests: 20_000, seeds: 3, finalists: 20 });
  expect(expandSpace(plan).feasible.length).toBeGreaterThan(20);
  // What stands in the file is the default, but for the context.
  const { engine, ...rest } = openServe(serveTemplate("x"));
  const bare = openServe("model: small.gguf");
  expect({ ...engine, contextTokens: 4096 }).toEqual(bare.engine);
  expect(engine.contextTokens).toBe(2048);
  expect(rest).toEqual({ server: bare.server, drainTimeoutSeconds: 30, logRequests: true });
});

test("what the templates comment out is valid as well", () => {
  const uncommented = (text: string) =>
    text
      .split("\n")
      .filter((line) => !line.startsWith("# ") || /^# ( {2,})?[a-z]\w*:/.test(line))
      .map((line) => line.replace(/^# /, ""))
      .join("\n");
  const run = uncommented(runTemplate("x"));
  expect(run).toContain("\nkv:\n  type: paged");
  expect(openRun(run).kv.numBlocks).toBe(20_000);
  const plan = uncommented(planTemplate("x"));
  expect(plan).toMatch(/\ncurrent:.*\n {2}device: a100-80gb/);
  const spec = openPlan(plan);
  expect(spec.current?.replicas).toBe(4);
  expect(spec.fleet?.gpus).toBe(8);
  const serve = openServe(serveTemplate("x").replace(/^( *)# ([a-z]\w*:)/gm, "$1$2"));
  expect(serve.engine).toMatchObject({
    name: "my-model",
    threads: 4,
    deterministic: true,
    kv: { memoryBytes: 2 * 1024 ** 3, pageBytes: 65536 },
    logs: { decisions: "decisions.jsonl" },
  });
  expect(serve.server).toMatchObject({ apiKeys: ["key"], chatTemplate: "chatml" });
});

const examples = fileURLToPath(new URL("../../../examples", import.meta.url));
test.each(readdirSync(examples).filter((name) => name.endsWith(".yaml")))(
  "examples/%s is valid",
  (name) => {
    const text = readFileSync(join(examples, name), "utf8");
    const schema = /\$schema=(\S+)/.exec(text)?.[1] ?? "";
    expect(readdirSync(join(examples, dirname(schema)))).toContain(schema.split("/").at(-1));
    if (schema.includes("jobs"))
      expect(parseConfig(text, { file: "jobs.yaml", schema: jobsFileSchema }).jobs).not.toEqual([]);
    else if (schema.includes("plan")) expect(openPlan(text).model.name).not.toBe("");
    else expect(openRun(text).model.name).not.toBe("");
  },
);

describe("a damaged file gives a configuration or a MillraceError with a place", () => {
  const edit = fc.record({
    at: fc.nat(3000),
    drop: fc.nat(6),
    put: fc.constantFrom(
      "",
      ..." \n\t:-{}[]#,'\"&*!|>?%@0.",
      "null",
      "-1",
      "1e999",
      "vllm",
      "[]",
      "{}",
      "sarathi",
      "\n  ",
      "~",
    ),
  });
  const damaged = (text: string) =>
    fc
      .array(edit, { minLength: 1, maxLength: 4 })
      .map((edits) =>
        edits.reduce(
          (t, { at, drop, put }) =>
            t.slice(0, at % t.length) + put + t.slice((at % t.length) + drop),
          text,
        ),
      );
  test.each([
    ["run.yaml", runTemplate("x"), openRun],
    ["plan.yaml", planTemplate("x"), openPlan],
    ["serve.yaml", serveTemplate("x"), openServe],
  ] as const)("%s", (_, text, open) => {
    fc.assert(
      fc.property(damaged(text), (broken) => {
        try {
          open(broken);
        } catch (error) {
          expect(error).toBeInstanceOf(MillraceError);
          expect((error as MillraceError).at?.line).toBeGreaterThan(0);
          expect((error as MillraceError).message).not.toContain("[object Object]");
        }
      }),
      { numRuns: 500 },
    );
  });
});
