import { describe, expect, test } from "vitest";
import { CbcSolver, hasCbc } from "./cbc-solver.ts";
import { HighsSolver } from "./highs-solver.ts";
import type { SolveProgress } from "./linear-program.ts";
import { ProgramBuilder } from "./program-builder.ts";
import { hard, solverConformance } from "./solver.conformance.ts";

describe("HiGHS", () => {
  solverConformance(() => new HighsSolver(), true);

  test("tells incumbents as they come, and a node limit gives the same result twice", async () => {
    await using solver = new HighsSolver();
    const seen: SolveProgress[] = [];
    const run = () =>
      solver.solve(hard(30), { maxNodes: 50, onProgress: (progress) => seen.push(progress) });
    const first = await run();
    expect(first.status).toBe("limit");
    expect(seen.some((p) => p.solution !== undefined && p.solution.length === 36)).toBe(true);
    expect(first.bound).toBeLessThanOrEqual(first.objective + 1e-9);
    const second = await run();
    expect(second.objective).toBe(first.objective);
    expect(second.solution).toEqual(first.solution);
  });

  test("a start is taken up", async () => {
    await using solver = new HighsSolver();
    const b = new ProgramBuilder();
    for (let i = 0; i < 8; i++) b.column(-1 - i, 0, 1, true);
    for (let i = 0; i < 8; i++) b.term(i, 2 + i);
    b.row(Number.NEGATIVE_INFINITY, 20);
    const program = b.build();
    const best = await solver.solve(program);
    const again = await solver.solve(program, {
      start: best.solution as Float64Array,
      maxNodes: 0,
    });
    expect(again.objective).toBe(best.objective);
  });
});

describe.skipIf(!hasCbc())("CBC (skipped where it is not installed)", () => {
  solverConformance(() => new CbcSolver(), false);
});

test("a solver that is not there is named", async () => {
  await using solver = new CbcSolver("no-such-solver");
  await expect(solver.solve(hard(5))).rejects.toThrow(/no-such-solver cannot be started/);
});

test("terms of the same column add up", () => {
  const b = new ProgramBuilder();
  const x = b.column(1, 0, 5);
  b.term(x, 1).term(x, 2).row(3, 6);
  const program = b.build();
  expect([...program.indices]).toEqual([x]);
  expect([...program.values]).toEqual([3]);
  expect([...program.starts]).toEqual([0, 1]);
});
