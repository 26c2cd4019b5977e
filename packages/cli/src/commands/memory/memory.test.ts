import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chainProblem, writeProblemFile } from "@millrace/remat";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "memory-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

function problemFile(): string {
  const file = join(folder, "problems.json");
  const problem = chainProblem(1, 8);
  writeFileSync(
    file,
    writeProblemFile([
      { name: "chain", problem, budget: 180 },
      { name: "other", problem, budget: undefined },
    ]),
  );
  return file;
}

test("a problem of a file is planned with its own budget", async () => {
  const file = problemFile();
  const { exit, out } = await millrace("memory", "plan", file, "--case", "chain", "--json");
  expect(exit).toBe(0);
  const result = JSON.parse(out);
  expect(result).toMatchObject({
    schema: "millrace.memory-plan/1",
    feasible: true,
    proof: "optimal",
    gap: 0,
  });
  expect(result.peak).toBeLessThanOrEqual(180);
  expect(result.plan[0]).toEqual(["f", 0, 0]);
  const text = await millrace("memory", "plan", file, "--case", "chain");
  expect(text.out).toMatch(/store everything/);
  expect(text.out).toMatch(/optimal; budget 180/);
});

test("a budget that is too small is answered with the smallest one", async () => {
  const file = problemFile();
  const flags = ["--case", "other", "--budget", "60"];
  const json = await millrace("memory", "plan", file, ...flags, "--json");
  expect(json.exit).toBe(3);
  const { feasible, time, plan, minBudget } = JSON.parse(json.out);
  expect({ feasible, time, plan }).toEqual({ feasible: false, time: null, plan: null });
  const text = await millrace("memory", "plan", file, ...flags);
  expect(text.out).toMatch(/no plan within 60; the smallest budget is/);
  const enough = await millrace(
    "memory",
    "plan",
    file,
    "--case",
    "other",
    "--budget",
    String(minBudget),
    "--json",
  );
  expect(JSON.parse(enough.out)).toMatchObject({ feasible: true, peak: minBudget });
});

test("a built-in graph is planned within a share of what it takes", async () => {
  const { exit, out } = await millrace(
    "memory",
    "plan",
    "--model",
    "llama-small",
    "--layers",
    "1",
    "--batch",
    "16",
    "--budget",
    "75%",
    "--effort",
    "low",
    "--json",
  );
  expect(exit).toBe(0);
  const result = JSON.parse(out);
  expect(result.peak).toBeLessThanOrEqual(0.75 * result.storeAll.peak);
  expect(result.costs).toMatch(/roofline/);
});

test("a plan is swept and explained, with a report", async () => {
  const file = problemFile();
  const swept = await millrace(
    "memory",
    "sweep",
    file,
    "--case",
    "chain",
    "--points",
    "3",
    "--json",
    "--html",
    join(folder, "sweep.html"),
  );
  expect(swept.exit).toBe(0);
  const { points, storeAll } = JSON.parse(swept.out);
  expect(points).toHaveLength(3);
  expect(points[2].time).toBeCloseTo(storeAll.time, 9);
  expect(readFileSync(join(folder, "sweep.html"), "utf8")).toMatch(/up to [\d.]+x less memory/);
  const html = join(folder, "plan.html");
  const explained = await millrace("memory", "explain", file, "--case", "chain", "--html", html);
  expect(explained.exit).toBe(0);
  expect(explained.out).toMatch(/recomputed/);
  expect(explained.out).toMatch(/one more unit would save/);
  expect(readFileSync(html, "utf8")).toMatch(/Before and after/);
});

test("methods are compared, with a report that says the same", async () => {
  const html = join(folder, "compare.html");
  const { exit, out } = await millrace(
    ...["memory", "compare", problemFile(), "--case", "chain", "--json", "--html", html],
  );
  expect(exit).toBe(0);
  const { rows } = JSON.parse(out) as { rows: { name: string; peak: number | null }[] };
  const page = readFileSync(html, "utf8");
  expect(page).toMatch(/<h1[^>]*>[^<]*chain/);
  expect(page).toMatch(/[\d.]+% more time within/);
  expect(page).toMatch(/<svg/);
  expect(rows.filter(({ peak }) => peak !== null).length).toBeGreaterThan(3);
  const escaped = (name: string) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  for (const { name } of rows) expect(page).toContain(escaped(name));
});

test("models are listed", async () => {
  const { exit, out } = await millrace("memory", "models", "--batch", "2", "--json");
  expect(exit).toBe(0);
  expect(JSON.parse(out).models.map((m: { name: string }) => m.name)).toContain("llama");
});

test("what is missing or mistyped is said", async () => {
  const file = problemFile();
  const vgg = ["memory", "plan", "--model", "vgg-16", "--budget", "50%"];
  const nan = join(folder, "nan.json");
  writeFileSync(nan, '{"forwardTime": NaN}');
  const wrong: [string[], RegExp][] = [
    [["memory", "plan"], /no training graph/],
    [["memory", "plan", file], /holds 2 problems/],
    [["memory", "plan", file, "--case", "chian"], /no problem "chian"/],
    [["memory", "plan", file, "--case", "other"], /no budget/],
    [["memory", "plan", "--model", "resnet50", "--budget", "50%"], /did you mean resnet-50/],
    [["memory", "plan", "--model", "unet", "--budget", "50%", "--device", "x"], /no roofline/],
    [[...vgg, "--image", "1x1"], /features\.4: an output of 32 x 64 x 0 x 0/],
    [[...vgg, "--image", "0x9"], /GRAPH_INVALID.*x 0/],
    [[...vgg, "--batch", "9007199254740991"], /hint: give smaller batches/],
    [
      ["memory", "plan", "--model", "gpt", "--budget", "1GB", "--layers", "999999999"],
      /fewer layers/,
    ],
    [["memory", "plan", nan, "--budget", "50%"], /:1:17 not valid JSON: "NaN"/],
    [[...vgg, "--out", ""], /file to write is empty/],
    [[...vgg, "--case", "x"], /--case names a problem of a file/],
    [["memory", "sweep", "--model", "vgg-16", "--points", "99999999"], /--points: at most 1000/],
    [["memory"], /needs a verb/],
  ];
  for (const [argv, message] of wrong) {
    const { exit, err } = await millrace(...argv);
    expect(exit).toBe(2);
    expect(err).toMatch(message);
  }
});

test("explain says whether the smallest budget is proven", async () => {
  const { exit, err } = await millrace(
    "memory",
    "explain",
    "--model",
    "resnet-small",
    "--budget",
    "1%",
  );
  expect(exit).toBe(3);
  expect(err).toMatch(/the smallest budget found is/);
});

test("a place that cannot be written is told before anything is planned", async () => {
  const argv = ["--model", "resnet-50", "--batch", "64", "--budget", "50%"];
  for (const [verb, flag] of [
    ["plan", "--out"],
    ["explain", "--html"],
    ["compare", "--html"],
  ] as const) {
    const { exit, err, out } = await millrace("memory", verb, ...argv, flag, folder);
    expect([exit, out]).toEqual([4, ""]);
    expect(err).toMatch(/OUTPUT_UNWRITABLE.*folder, not a file/);
    expect(err).not.toMatch(/planning/);
  }
});

test("compare has a row for each method, within one budget", async () => {
  const file = problemFile();
  const { exit, out } = await millrace("memory", "compare", file, "--case", "chain", "--json");
  expect(exit).toBe(0);
  const { schema, rows, budget } = JSON.parse(out);
  expect(schema).toBe("millrace.memory-compare/1");
  const named = new Map(rows.map((row: { name: string }) => [row.name, row]));
  const ours = named.get("millrace") as { time: number; peak: number };
  expect(ours.peak).toBeLessThanOrEqual(budget);
  expect(named.get("Checkmate (operators fixed)")).toMatchObject({ fits: true, time: ours.time });
  expect(named.get("store everything")).toMatchObject({ fits: false });
  const text = await millrace("memory", "compare", file, "--case", "chain");
  expect(text.out).toMatch(/MONeT's constraints/);
});
