import { expect, test } from "vitest";
import { generateTrace, gpuCounts, synergyMix } from "./generate.ts";
import { formatJobTrace, parseJobTrace, type TraceJob } from "./job-trace.ts";

test("rows with and without a header are the same jobs", () => {
  const rows = "3,res18,12.5,100,2\n1,gnmt,0,7,1\n";
  const jobs = parseJobTrace(rows, "t.csv");
  expect(jobs[0]).toEqual({
    id: 3,
    model: "res18",
    arrivalSeconds: 12.5,
    iterations: 100,
    gpus: 2,
  });
  expect(parseJobTrace(`job_id,model,arrival_s,iterations,gpus\n${rows}`, "t.csv")).toEqual(jobs);
  expect(formatJobTrace(jobs)).toBe(rows);
});

test("with a header rows may name tenants and data sets", () => {
  const [job, other] = parseJobTrace(
    "job_id,model,arrival_s,iterations,gpus,tenant,dataset\n1,a,0,1,1,vision,images\n2,a,0,1,1,vision,\n",
    "t.csv",
  );
  expect(job).toMatchObject({ tenant: "vision", dataset: "images" });
  // An empty cell is a data set of the job's own.
  expect(other).not.toHaveProperty("dataset");
});

test("generated jobs are drawn over tenants and data sets, and are otherwise the same", () => {
  const spec = {
    jobs: 300,
    seed: 4,
    arrivals: { kind: "poisson", jobsPerHour: 5 },
    classes: synergyMix(50, 50, 0),
    gpus: gpuCounts.multi,
    iterationSeconds: () => 1,
  } as const;
  const drawn = generateTrace({ ...spec, tenants: ["a", "b", "c"], datasetsPerClass: 2 });
  const count = (of: (job: TraceJob) => string | undefined) => {
    const counts = new Map<string | undefined, number>();
    for (const job of drawn) counts.set(of(job), (counts.get(of(job)) ?? 0) + 1);
    return counts;
  };
  expect([...count((job) => job.tenant).keys()].sort()).toEqual(["a", "b", "c"]);
  for (const n of count((job) => job.tenant).values()) expect(n).toBeGreaterThan(70);
  expect([...count((job) => job.dataset).keys()].sort()).toEqual([
    "image-1",
    "image-2",
    "language-1",
    "language-2",
  ]);
  const plain = drawn.map(({ tenant: _, dataset: __, ...job }) => job);
  expect(plain).toEqual(generateTrace(spec));
});

test.each([
  ["0,a,0,1,1\n0,a,0,1,1\n", /job 0 is there twice/, 2],
  ["0,a,0,1,1\n1,a,-1,1,1\n", /job 1 arrives at "-1"/, 2],
  ["0,a,0,0,1\n", /iterations is "0"/, 1],
  ["0,a,0,1,1.5\n", /gpus is "1.5"/, 1],
  ["", /no jobs/, undefined],
])("%j is refused with its place", (text, message, line) => {
  expect(() => parseJobTrace(text, "t.csv")).toThrow(
    expect.objectContaining({
      code: "JOBS_INVALID",
      message: expect.stringMatching(message),
      at: expect.objectContaining({ file: "t.csv", ...(line !== undefined && { line }) }),
    }),
  );
});
