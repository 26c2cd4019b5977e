import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMock } from "@millrace/bench/mock";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-search-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("bench prefill", () => {
  test("prints the curve and writes a file that bench reads", async () => {
    await using mock = await startMock({ stepMs: 1 });
    const out = join(folder, "curve.json");
    const lengths = ["--lengths", "50,100,200,400", "--repeats", "4", "--output-tokens", "2"];
    const counted = ["--tokenizer", "o200k_base"];
    const run = await millrace(
      ...["bench", "prefill", "--url", mock.url],
      ...[...lengths, ...counted, "-o", out, "--html", join(folder, "curve.html")],
    );
    expect(run.exit).toBe(0);
    const page = readFileSync(join(folder, "curve.html"), "utf8");
    for (const text of ["<svg", "Predicted from the others", "o200k_base"])
      expect(page).toContain(text);
    for (const text of ["prompt tokens", "from the others", "off, between lengths", "up to"])
      expect(run.out).toContain(text);
    expect(run.err).toContain(`--prefill-curve ${out}`);
    const file = JSON.parse(readFileSync(out, "utf8"));
    expect(file).toMatchObject({
      schema: "millrace.prefill-curve/1",
      failed: 0,
      tokenizer: "o200k_base",
    });
    expect(file.lengths.map((l: { repeats: number[] }) => l.repeats.length)).toEqual([4, 4, 4, 4]);

    const load = ["--rate", "50", "-n", "10", "--prompt-tokens", "100", "--output-tokens", "2"];
    const used = ["--prefill-curve", out, "--ttft", "500ms"];
    const bench = await millrace("bench", "--url", mock.url, ...load, ...used, "--json");
    expect(bench.exit).toBe(0);
    expect(JSON.parse(bench.out).fluidity.targets.ttft.type).toBe("curve");
    const long = ["--rate", "50", "-n", "3", "--prompt-tokens", "2000", "--output-tokens", "2"];
    const beyond = await millrace("bench", "--url", mock.url, ...long, ...used);
    expect(beyond.exit).toBe(2);
    expect(beyond.err).toContain("does not answer");
  }, 60_000);

  test.each([
    [["--lengths", "1,2,3"], "3 prompt lengths"],
    [["--lengths", "10,x,20,30"], "NaN is no prompt length"],
    [["--lengths", "10,20,30,40", "--longest", "99"], "leave --shortest and --longest out"],
    [["--shortest", "100", "--longest", "100"], "are no range"],
    [["--output-tokens", "1..4"], "whole number"],
    [["--repeats", "0"], "whole number"],
    [["-m", "x", "--tokenizer", "abacus"], "--tokenizer"],
    [["--rate", "3"], "--rate is a flag of millrace bench, not of millrace bench prefill"],
  ])("%j is a usage error", async (flags, says) => {
    const { exit, out, err } = await millrace(
      "bench",
      "prefill",
      "-u",
      "http://127.0.0.1:9",
      ...flags,
    );
    expect({ exit, out }).toEqual({ exit: 2, out: "" });
    expect(err).toContain(says);
  });
});

test("help of a subcommand has its own flags and the program's, not those of bench", async () => {
  const { out } = await millrace("bench", "prefill", "--help");
  expect(out.match(/--url/g)?.length).toBe(1 + (out.match(/\$ millrace.*--url/g)?.length ?? 0));
  expect(out).toContain("--json");
  expect(out).not.toContain("--ramp");
});

describe("bench capacity", () => {
  const quick = ["--probe-time", "1s", "--output-tokens", "2", "--prompt-tokens", "10"];

  test("searches, prints the answer, keeps report and raw runs", async () => {
    await using mock = await startMock({ stepMs: 1, capacityQps: 60 });
    const out = join(folder, "capacity");
    const slo = ["--slo", "ttft.p90<=60ms", "--max-probes", "3", "--start", "40"];
    const even = ["--arrivals", "constant", "--tolerance", "20%"];
    const flags = [...quick, ...slo, ...even, "-o", out];
    const run = await millrace("bench", "capacity", "-u", mock.url, ...flags);
    expect(run.exit).toBe(0);
    expect(run.out).toMatch(/capacity \S+ requests\/s/);
    expect(run.out).toContain("SLO: ttft.p90<=60ms");
    const report = JSON.parse(readFileSync(join(out, "capacity.json"), "utf8"));
    expect(report).toMatchObject({ schema: "millrace.bench-capacity/1", startQps: 40 });
    const page = readFileSync(join(out, "report.html"), "utf8");
    for (const text of ["<svg", "Fluidity against the rate", "ttft.p90&lt;=60ms"])
      expect(page).toContain(text);
    const raw = readdirSync(out).filter((name) => name.endsWith(".jsonl"));
    expect(raw).toHaveLength(report.probes.length);
    const [first] = raw;
    const again = await millrace(
      "bench",
      "score",
      join(out, first as string),
      "--tbt",
      "50ms",
      "--json",
    );
    expect(JSON.parse(again.out)).toMatchObject({ fluidity: { targets: { tbtUs: 50_000 } } });

    // What was found seeds the next search.
    const predict = ["--predict", join(out, "capacity.json"), "--max-probes", "1", "--json"];
    const seeded = await millrace("bench", "capacity", "-u", mock.url, ...quick, ...predict);
    const second = JSON.parse(seeded.out);
    expect(second.startQps).toBe(report.capacity.valueQps);
    expect(second.prediction.source).toContain("capacity.json");
  }, 60_000);

  test("an SLO that no rate keeps exits with 3", async () => {
    await using mock = await startMock({ stepMs: 5 });
    // A wide deadline between tokens, so that a busy machine's canary does not make the probes invalid.
    const slo = ["--slo", "ttft.p90<=0.1ms", "--start", "30", "--min-rate", "29", "--tbt", "5s"];
    const run = await millrace("bench", "capacity", "-u", mock.url, ...quick, ...slo);
    expect(run.exit).toBe(3);
    expect(run.out).toContain("below");
    expect(run.err).toContain("--min-rate");
  }, 60_000);

  test.each([
    [["--tolerance", "2"], "--tolerance"],
    [["--probe-time", "9s..3s"], "no range of times"],
    [["--replicas", "2"], "--replicas needs --predict"],
    [["--start", "5", "--max-rate", "2"], "do not hold the start"],
    [["--predict", "/nowhere/plan.json"], "there is no such file"],
    [["--slo", "ttft<=1s"], "needs a statistic"],
    [["--tokenizer", "abacus"], "--tokenizer"],
  ])("%j is an error of use", async (flags, says) => {
    await using mock = await startMock();
    const { exit, out, err } = await millrace("bench", "capacity", "-u", mock.url, ...flags);
    expect({ exit, out }).toEqual({ exit: 2, out: "" });
    expect(err).toContain(says);
  });
});
