import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { failedRecord, record, runOf, targets } from "../metrics/record.conformance.ts";
import { compareRuns } from "./compare.ts";

/** Requests whose tokens come every `gap` ms with noise; one in `stallEvery` has a stall of 400 ms. */
function run(gap: number, stallEvery: number, seed: number) {
  const rng = new Rng(seed);
  const records = Array.from({ length: 120 }, (_, i) => {
    let at = 60 + 20 * rng.next();
    // Requests differ in speed as those of a busy server do.
    const speed = 0.5 + rng.next();
    return record(
      i,
      Array.from({ length: 30 }, (_, k) => {
        at += gap * speed * (0.8 + 0.4 * rng.next()) + (k === 15 && i % stallEvery === 0 ? 400 : 0);
        return at;
      }),
    );
  });
  return runOf(records);
}

const figure = (comparison: ReturnType<typeof compareRuns>, name: string) =>
  comparison.figures.find((one) => one.name === name);

test("stalls are found where medians are alike", () => {
  const comparison = compareRuns(run(20, 1e9, 1), run(20, 12, 2), { targets });
  expect(figure(comparison, "TPOT p50")?.verdict).toBe("unclear");
  expect(figure(comparison, "longest gap of a request p99")?.verdict).toBe("worse");
});

test("a run does not differ from one that was drawn alike, and the same seed says the same", () => {
  const [a, b] = [run(20, 5, 3), run(20, 5, 4)];
  const comparison = compareRuns(a, b, { targets });
  const sure = comparison.figures.filter(({ verdict }) => verdict !== "unclear");
  expect(sure.length).toBeLessThanOrEqual(1);
  expect(compareRuns(a, b, { targets })).toEqual(comparison);
});

test("failures and different loads are told", () => {
  const a = run(20, 9, 5);
  const failed = runOf(
    a.records.map((one, i) => (i % 2 === 0 ? one : failedRecord(one.index, 30))),
  );
  const other = { ...failed, header: { ...failed.header, seed: "2" } };
  const comparison = compareRuns(a, other, { targets });
  expect(figure(comparison, "answered")).toMatchObject({ a: 1, b: 0.5, verdict: "worse" });
  expect(comparison.caveats.join()).toContain("different loads");
});
