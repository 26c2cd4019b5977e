import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adviceOptions, advise } from "./advise.ts";
import { parsePrometheus } from "./prometheus.ts";
import { parseUse } from "./read.ts";
import { replay } from "./replay.ts";
import { parseSacct } from "./sacct.ts";
import type { JobUse } from "./use.ts";

const example = (name: string): string =>
  readFileSync(new URL(`../../../../examples/${name}`, import.meta.url), "utf8");
const shape = { servers: 4, gpus: 8, cpus: 64, hostBytes: 1e12 };

function job(over: Partial<JobUse> & { readonly use?: number }): JobUse {
  const { use = 2, ...rest } = over;
  return {
    id: "1",
    name: "train",
    owner: "jo",
    gpus: 1,
    running: false,
    submittedAt: 0,
    seconds: 3600,
    cpus: { held: 4, limit: 4, mean: use, high: null, throttled: null },
    memory: { heldBytes: 64 * 2 ** 30, peakBytes: 60 * 2 ** 30, exhausted: false },
    gpuBusy: null,
    ...rest,
  };
}

describe("sacct", () => {
  const rows = (header: string, ...lines: readonly string[]) => [header, ...lines, ""].join("\n");

  test("jobs and their steps become one use; memory is that of all tasks", () => {
    const text = rows(
      "JobID|JobName|User|State|Submit|Elapsed|NNodes|NTasks|AllocTRES|TotalCPU|MaxRSS",
      "7|big|ana|COMPLETED|2026-01-01T10:00:00|1-02:00:00|2||billing=9,cpu=16,gres/gpu:a100=4,gres/gpu=4,mem=100G,node=2|10-00:00:00|",
      "7.batch|batch||COMPLETED||1-02:00:00|1|1|cpu=8|00:01.5|2048K",
      "7.0|python||COMPLETED||1-02:00:00|2|4|cpu=16|10-00:00:00|1024M",
      "8_[2-5]|sweep|ana|PENDING|||||||",
      "9_1|sweep|ana|OUT_OF_MEMORY|2026-01-01T10:00:01|10:00|1||cpu=2,gres/gpu:v100=1,mem=8G|15:00|",
    );
    const { jobs, skipped } = parseSacct(text, "jobs.txt");
    expect(skipped).toEqual([]);
    expect(jobs).toHaveLength(2);
    expect(jobs[0]).toMatchObject({
      id: "7",
      owner: "ana",
      gpus: 4,
      seconds: 26 * 3600,
      cpus: { held: 16, limit: 16, high: null },
      memory: { heldBytes: 100 * 2 ** 30, peakBytes: 4 * 2 ** 30 + 2 * 2 ** 20 },
    });
    expect(jobs[0]?.cpus.mean).toBeCloseTo(240 / 26);
    expect(jobs[1]).toMatchObject({
      id: "9_1",
      gpus: 1,
      memory: { exhausted: true, peakBytes: null },
    });
    expect((jobs[0]?.submittedAt ?? 0) + 1).toBe(jobs[1]?.submittedAt);
  });

  test("older Slurm: gres by node, memory by CPU or node, any delimiter, a delimiter at the end", () => {
    const text = rows(
      "State;ReqMem;JobID;AllocCPUS;AllocGRES;TotalCPU;ElapsedRaw;NNodes;",
      "COMPLETED;4Gc;3;8;gpu:k80:2;01:00:00;3600;2;",
      "COMPLETED;4000Mn;4;8;gpu:2;01:00:00;3600;1;",
    );
    const { jobs } = parseSacct(text, "jobs.txt");
    expect(jobs.map(({ gpus }) => gpus)).toEqual([4, 2]);
    expect(jobs[0]?.memory.heldBytes).toBe(32 * 2 ** 30);
    expect(jobs[1]?.memory.heldBytes).toBe(4000 * 2 ** 20);
  });

  test("rows that cannot be used are named by line, the others count", () => {
    const text = rows(
      "JobID|State|Elapsed|AllocTRES|TotalCPU",
      "1|COMPLETED|01:00:00|cpu=2,gres/gpu=1|01:00:00",
      "2|COMPLETED|soon|cpu=2,gres/gpu=1|01:00:00",
      "no|COMPLETED|01:00:00|cpu=2|01:00:00",
      "3|COMPLETED|01:00:00",
    );
    const { jobs, skipped } = parseSacct(text, "jobs.txt");
    expect(jobs.map(({ id }) => id)).toEqual(["1"]);
    expect(skipped).toEqual([
      { line: 3, reason: 'Elapsed is "soon", not a time' },
      { line: 4, reason: '"no" is no job id' },
      { line: 5, reason: "3 cells where the header has 5" },
    ]);
  });

  test.each([
    ["JobID        JobName\n------------ ----------\n1  x\n", /fixed width/],
    ["hello\n", /no line names a column JobID/],
    ["JobID|State|Elapsed|AllocTRES\n", /no column TotalCPU/],
  ])("%j is refused with the command to run", (text, message) => {
    expect(() => parseSacct(text, "jobs.txt")).toThrow(
      expect.objectContaining({
        code: "JOBS_INVALID",
        message: expect.stringMatching(message),
        hint: expect.stringMatching(/sacct --allusers --parsable2/),
        at: expect.objectContaining({ file: "jobs.txt" }),
      }),
    );
  });
});

describe("Prometheus", () => {
  const labels = 'namespace="a",pod="p-0",container="c"';
  const text = [
    "# HELP x y",
    `container_cpu_usage_seconds_total{${labels}} 100 1000`,
    `container_cpu_usage_seconds_total{${labels}} 400 1100`,
    // The container was started again: the counter begins anew.
    `container_cpu_usage_seconds_total{${labels}} 50 1200`,
    `container_cpu_usage_seconds_total{namespace="a",pod="p-0",container="POD"} 9e9 1200`,
    `container_memory_working_set_bytes{${labels}} 5e9 1100`,
    `kube_pod_container_resource_requests{${labels},resource="cpu",unit="core"} 4 1200`,
    `kube_pod_container_resource_requests{${labels},resource="nvidia.com/gpu"} 2 1200`,
    'kube_pod_owner{namespace="a",pod="p-0",owner_kind="Job",owner_name="say \\"hi\\""} 1 1200',
    "not a sample",
    "# EOF",
    "",
  ].join("\n");

  test("counters become rates over restarts, labels are read with their escapes, limits may be missing", () => {
    const { jobs, skipped } = parsePrometheus(text, "pods.prom");
    expect(skipped).toEqual([{ line: 10, reason: expect.stringMatching(/no sample/) }]);
    expect(jobs).toEqual([
      expect.objectContaining({ id: 'a/say "hi"', gpus: 2, running: true, seconds: 200 }),
    ]);
    expect(jobs[0]?.cpus).toEqual({
      held: 4,
      limit: null,
      mean: 350 / 200,
      high: null,
      throttled: null,
    });
    expect(jobs[0]?.memory).toMatchObject({ heldBytes: null, peakBytes: 5e9 });
  });

  test("the JSON of the query interface says the same", () => {
    const metric = { __name__: "container_cpu_usage_seconds_total", namespace: "a", pod: "p-0" };
    const answer = (container: string) => ({
      status: "success",
      data: {
        resultType: "matrix",
        result: [
          {
            metric: { ...metric, container },
            values: [
              [1000, "100"],
              [1100, "400"],
              [1200, "50"],
            ],
          },
        ],
      },
    });
    const { jobs } = parsePrometheus(
      `${JSON.stringify(answer("c"))}\n${JSON.stringify({ status: "error", error: "timeout" })}\n`,
      "pods.json",
    );
    expect(jobs[0]?.cpus.mean).toBeCloseTo(350 / 200);
    const nameless = JSON.stringify({
      status: "success",
      data: { result: [{ metric: {}, value: [1, "2"] }] },
    });
    expect(() => parsePrometheus(nameless, "pods.json")).toThrow(
      expect.objectContaining({ hint: expect.stringMatching(/not rate\(\)/) }),
    );
  });
});

describe("right sizes", () => {
  const one = (...jobs: readonly JobUse[]) => advise(jobs, adviceOptions).kinds[0];

  test("what was not used is not needed; the run time stays", () => {
    expect(one(job({ use: 1.5 }))).toMatchObject({
      cpus: "idle",
      cpusToAsk: 2,
      secondsLow: 3600,
      secondsHigh: 3600,
    });
  });

  test("busy cores and idle GPUs: up to twice as many, as far as the GPUs allow", () => {
    const [idle, hungry] = [job({ name: "idle", use: 1 }), job({ use: 3.9, gpuBusy: 0.7 })];
    const [first] = advise([idle, idle, hungry], adviceOptions).kinds;
    expect(first).toMatchObject({ cpus: "short", rightCpus: 6, cpusToAsk: 6, secondsHigh: 3600 });
    expect(first?.secondsLow).toBeCloseTo(3600 * 0.7);
    expect(one(job({ use: 3.9, gpuBusy: 0.99 }))).toMatchObject({ cpus: "fits" });
  });

  test("with a profile the time is one figure; without idle cores nobody gets more", () => {
    const profile = { name: "train", cpus: [2, 4, 8], hostBytes: [1e9], rate: [[1], [2], [3]] };
    const options = { ...adviceOptions, profiles: new Map([["train", profile]]) };
    const hungry = job({ use: 4 });
    const alone = advise([hungry], options).kinds[0];
    expect(alone).toMatchObject({
      rightCpus: 8,
      cpusToAsk: 4,
      secondsLow: 3600,
      secondsHigh: 3600,
    });
    const idle = job({ name: "idle", use: 0.5 });
    const helped = advise([idle, idle, hungry], options).kinds.find((a) => a.kind.name === "train");
    expect(helped?.cpusToAsk).toBe(8);
    expect(helped?.secondsLow).toBeCloseTo(2400);
    expect(helped?.secondsHigh).toBeCloseTo(2400);
  });

  test("memory: tight stays, idle shrinks, exhausted grows", () => {
    const GiB = 2 ** 30;
    const memory = (peak: number, exhausted = false) =>
      job({ memory: { heldBytes: 64 * GiB, peakBytes: peak * GiB, exhausted } });
    expect(one(memory(63))).toMatchObject({ memory: "short", rightBytes: 76 * GiB });
    expect(one(memory(20))).toMatchObject({ memory: "idle", rightBytes: 24 * GiB });
    expect(one(memory(52))).toMatchObject({ memory: "fits", rightBytes: 64 * GiB });
    expect(one(memory(60, true))).toMatchObject({ memory: "short", rightBytes: 96 * GiB });
  });

  test("whatever the use, nobody asks for more than is there together, and no time gets worse", () => {
    const uses = fc.record({
      gpus: fc.integer({ min: 1, max: 8 }),
      seconds: fc.integer({ min: 60, max: 1e6 }),
      held: fc.integer({ min: 1, max: 64 }),
      busy: fc.double({ min: 0.01, max: 1, noNaN: true }),
      gpuBusy: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    });
    fc.assert(
      fc.property(fc.array(uses, { minLength: 1, maxLength: 12 }), (drawn) => {
        const jobs = drawn.map(({ gpus, seconds, held, busy, gpuBusy }, i) =>
          job({
            id: `${i}`,
            name: `k${i}`,
            gpus,
            seconds,
            gpuBusy,
            submittedAt: i,
            cpus: { held, limit: held, mean: held * busy, high: null, throttled: null },
          }),
        );
        const advice = advise(jobs, adviceOptions);
        expect(advice.cpuHours.right).toBeLessThanOrEqual(advice.cpuHours.held + 1e-6);
        for (const { kind, cpusToAsk, secondsNow, secondsHigh, secondsLow } of advice.kinds) {
          expect(cpusToAsk).toBeGreaterThanOrEqual(kind.highCpus ?? 0);
          expect(secondsHigh).toBeLessThanOrEqual(secondsNow * (1 + 1e-9));
          expect(secondsLow).toBeLessThanOrEqual(secondsHigh);
        }
      }),
      { numRuns: 60 },
    );
  });
});

test("the examples: advice, and its replay on servers", () => {
  const used = parseUse(example("sacct.txt"), "sacct.txt");
  expect(used).toMatchObject({ source: "sacct", skipped: [] });
  const advice = advise(used.jobs, adviceOptions);
  expect(advice).toMatchObject({ jobs: 100, withoutGpus: 1, tooShort: 1 });
  const replayed = replay(advice, shape);
  expect(replayed).toMatchObject({ jobs: 100, leftOut: 0 });
  expect(replayed?.advisedWorst).toBeLessThanOrEqual((replayed?.asRequested ?? 0) + 1e-9);
  expect(replayed?.advisedBest).toBeLessThan(replayed?.advisedWorst ?? 0);
  const pods = advise(parseUse(example("pods.prom"), "pods.prom").jobs, adviceOptions);
  expect(pods.kinds.map(({ kind, cpus }) => [kind.name, cpus])).toEqual([
    ["resnet50", "short"],
    ["vit-base", "idle"],
    ["conformer", "short"],
  ]);
  // Nothing submitted, nothing to replay.
  expect(replay(pods, shape)).toBeNull();
});

test("damaged files are refused or read in part, never worse", () => {
  const files = [example("sacct.txt").slice(0, 3000), example("pods.prom").slice(0, 3000)];
  const damage = fc.record({
    file: fc.integer({ min: 0, max: 1 }),
    at: fc.nat(3000),
    remove: fc.nat(400),
    insert: fc.oneof(
      fc.string(),
      fc.constantFrom(
        "|",
        "\n",
        "{",
        '"',
        "NaN",
        "-1",
        "9e999",
        "=",
        "\u0000",
        '{"data":{"result":[1]}}',
      ),
    ),
  });
  fc.assert(
    fc.property(damage, ({ file, at, remove, insert }) => {
      const whole = files[file] as string;
      const text = whole.slice(0, at) + insert + whole.slice(at + remove);
      try {
        const report = parseUse(text, "f");
        const lines = text.split("\n").length;
        for (const { line } of report.skipped) expect(line >= 1 && line <= lines).toBe(true);
        const advice = advise(report.jobs, { ...adviceOptions, all: true, leastSeconds: 0 });
        expect(Number.isFinite(advice.gpuHours)).toBe(true);
        replay(advice, shape);
      } catch (error) {
        expect(error).toMatchObject({ code: "JOBS_INVALID" });
      }
    }),
    { numRuns: 300 },
  );
});
