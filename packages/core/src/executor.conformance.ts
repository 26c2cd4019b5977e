/** What every Executor must do; call it from the test file of an implementation. */
import { describe, expect, test } from "vitest";
import type { Executor, Job, Outcome } from "./executor.ts";
import type { ConformanceInput, ConformanceOutput } from "./executor-task.conformance.ts";

type Conforming = Executor<ConformanceInput, ConformanceOutput>;

const double = (n: number): Job<ConformanceInput>[] =>
  Array.from({ length: n }, (_, i) => ({ id: `job-${i}`, input: { kind: "double", value: i } }));

async function collect(
  outcomes: AsyncIterable<Outcome<ConformanceOutput>>,
): Promise<Map<string, Outcome<ConformanceOutput>>> {
  const found = new Map<string, Outcome<ConformanceOutput>>();
  for await (const outcome of outcomes) {
    expect(found.has(outcome.id), `second outcome of ${outcome.id}`).toBe(false);
    found.set(outcome.id, outcome);
  }
  return found;
}

/** Registers the suite; `make` returns an executor of `run` in executor-task.conformance.ts, which the suite disposes. */
export function executorConformance(
  name: string,
  make: () => Conforming | Promise<Conforming>,
): void {
  describe(`${name} is an Executor`, () => {
    test("no jobs, no outcomes", async () => {
      await using executor = await make();
      expect(executor.workers).toBeGreaterThanOrEqual(1);
      expect((await collect(executor.run([]))).size).toBe(0);
    });

    test("every job has one outcome, and runs may follow each other", async () => {
      await using executor = await make();
      for (const n of [1, 200]) {
        const found = await collect(executor.run(double(n)));
        expect(found.size).toBe(n);
        for (let i = 0; i < n; i++)
          expect(found.get(`job-${i}`)).toEqual({ id: `job-${i}`, ok: true, value: 2 * i });
      }
    });

    test("a job that throws is an outcome and does not harm the others", async () => {
      await using executor = await make();
      const jobs: Job<ConformanceInput>[] = [
        ...double(5),
        { id: "bad", input: { kind: "fail", message: "no such device" } },
        { id: "after", input: { kind: "double", value: 21 } },
      ];
      const found = await collect(executor.run(jobs));
      expect(found.size).toBe(7);
      expect(found.get("bad")).toEqual({ id: "bad", ok: false, error: "no such device" });
      expect(found.get("after")).toEqual({ id: "after", ok: true, value: 42 });
    });

    test("jobs may come from an async source and are pulled as needed", async () => {
      await using executor = await make();
      let pulled = 0;
      let taken = 0;
      async function* source(): AsyncGenerator<Job<ConformanceInput>> {
        for (const job of double(100)) {
          pulled++;
          expect(pulled - taken).toBeLessThanOrEqual(2 * executor.workers + 1);
          yield job;
        }
      }
      for await (const outcome of executor.run(source())) {
        expect(outcome.ok).toBe(true);
        taken++;
      }
      expect(taken).toBe(100);
    });

    test("two jobs with one id are refused", async () => {
      await using executor = await make();
      const job: Job<ConformanceInput> = { id: "same", input: { kind: "double", value: 1 } };
      await expect(collect(executor.run([job, job]))).rejects.toThrow(/same/);
      expect((await collect(executor.run([job]))).size).toBe(1);
    });

    test("an error of the source is passed on", async () => {
      await using executor = await make();
      function* source(): Generator<Job<ConformanceInput>> {
        yield* double(2);
        throw new Error("source broke");
      }
      await expect(collect(executor.run(source()))).rejects.toThrow("source broke");
    });

    test("aborting ends the iteration, also before it begins", async () => {
      await using executor = await make();
      const stop = new AbortController();
      let seen = 0;
      function* endless(): Generator<Job<ConformanceInput>> {
        for (let i = 0; ; i++) yield { id: `${i}`, input: { kind: "double", value: i } };
      }
      for await (const _ of executor.run(endless(), stop.signal)) if (++seen === 10) stop.abort();
      expect(seen).toBe(10);
      expect((await collect(executor.run(double(3), stop.signal))).size).toBe(0);
      expect((await collect(executor.run(double(3)))).size).toBe(3);
    });

    test("leaving the loop drops the rest", async () => {
      await using executor = await make();
      for await (const _ of executor.run(double(1000))) break;
      expect((await collect(executor.run(double(3)))).size).toBe(3);
    });

    test("large inputs and results pass", async () => {
      await using executor = await make();
      const text = "0123456789".repeat(500_000);
      const found = await collect(executor.run([{ id: "large", input: { kind: "echo", text } }]));
      const outcome = found.get("large");
      expect(outcome?.ok === true && outcome.value === text).toBe(true);
    });
  });
}
