import { expect, test } from "vitest";
import { formatJobTrace, parseJobTrace } from "./job-trace.ts";

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

test("with a header rows may name tenants", () => {
  const [job] = parseJobTrace(
    "job_id,model,arrival_s,iterations,gpus,tenant\n1,a,0,1,1,vision\n",
    "t.csv",
  );
  expect(job?.tenant).toBe("vision");
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
