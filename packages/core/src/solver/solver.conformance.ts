/** What every LinearSolver answers, checked against programs whose optimum is known or found by enumeration. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { LinearSolver } from "./linear-program.ts";
import { ProgramBuilder } from "./program-builder.ts";

const infinity = Number.POSITIVE_INFINITY;

/** max 3x + 2y, x + y ≤ 4, x + 3y ≤ 7, x ≤ 3: x = 3, y = 1. */
function furniture(): ProgramBuilder {
  const b = new ProgramBuilder();
  const x = b.column(-3, 0, 3);
  const y = b.column(-2, 0, infinity);
  b.term(x, 1).term(y, 1).row(-infinity, 4);
  b.term(x, 1).term(y, 3).row(-infinity, 7);
  b.constant(10);
  return b;
}

/** Of `weights` and `values`: the best value within `room`, by trying every subset. */
function bestKnapsack(weights: readonly number[], values: readonly number[], room: number): number {
  let best = 0;
  for (let set = 0; set < 1 << weights.length; set++) {
    let weight = 0;
    let value = 0;
    for (let i = 0; i < weights.length; i++)
      if (set & (1 << i)) {
        weight += weights[i] as number;
        value += values[i] as number;
      }
    if (weight <= room) best = Math.max(best, value);
  }
  return best;
}

/** Runs the suite; `create` is called once. `duals` is false for solvers that give none. */
export function solverConformance(create: () => LinearSolver, duals: boolean): void {
  test("an LP has its optimum, bound and duals", async () => {
    await using solver = create();
    const result = await solver.solve(furniture().build());
    expect(result.status).toBe("optimal");
    expect(result.objective).toBeCloseTo(-1, 9);
    expect(result.bound).toBeCloseTo(-1, 9);
    expect(result.solution?.[0]).toBeCloseTo(3, 9);
    expect(result.solution?.[1]).toBeCloseTo(1, 9);
    if (duals) {
      // One more unit of the first row lets y grow by one: the objective falls by 2.
      expect(result.rowDuals?.[0]).toBeCloseTo(-2, 9);
      expect(result.rowDuals?.[1]).toBeCloseTo(0, 9);
      expect(result.columnDuals?.[0]).toBeCloseTo(-1, 9);
    }
  });

  test("programs without solution or without optimum are results", async () => {
    await using solver = create();
    const none = new ProgramBuilder();
    const x = none.column(1, 0, 1);
    none.term(x, 1).row(2, 3);
    expect(await solver.solve(none.build())).toMatchObject({
      status: "infeasible",
      solution: null,
      objective: infinity,
    });
    const open = new ProgramBuilder();
    open.term(open.column(-1, 0, infinity), 1).row(1, infinity);
    expect((await solver.solve(open.build())).status).toBe("unbounded");
  });

  test("knapsacks agree with enumeration; the relaxation is no worse", async () => {
    await using solver = create();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 30 })), {
          minLength: 2,
          maxLength: 9,
        }),
        async (items) => {
          const weights = items.map(([w]) => w);
          const values = items.map(([, v]) => v);
          const room = Math.floor(weights.reduce((a, w) => a + w, 0) / 2);
          const b = new ProgramBuilder();
          for (let i = 0; i < items.length; i++) b.column(-(values[i] as number), 0, 1, true);
          for (let i = 0; i < items.length; i++) b.term(i, weights[i] as number);
          b.row(-infinity, room);
          const best = bestKnapsack(weights, values, room);
          const whole = await solver.solve(b.build());
          expect(whole.status).toBe("optimal");
          expect(whole.objective).toBeCloseTo(-best, 6);
          const relaxed = await solver.solve(b.build(), { relaxed: true });
          expect(relaxed.objective).toBeLessThanOrEqual(-best + 1e-6);
          expect(relaxed.bound).toBeCloseTo(relaxed.objective, 6);
        },
      ),
      { numRuns: 12 },
    );
  });

  test("an aborted solve ends, and the solver goes on", async () => {
    await using solver = create();
    const controller = new AbortController();
    const pending = solver.solve(hard(60), { signal: controller.signal });
    setImmediate(() => controller.abort());
    expect((await pending).status).toBe("aborted");
    expect((await solver.solve(furniture().build())).status).toBe("optimal");
    expect((await solver.solve(hard(5), { signal: controller.signal })).status).toBe("aborted");
  });
}

/** A market split problem, after Cornuéjols and Dawande: small, and out of reach of branch and bound. */
export function hard(n: number): ReturnType<ProgramBuilder["build"]> {
  const b = new ProgramBuilder();
  const rows = Math.max(2, Math.floor(n / 10));
  for (let i = 0; i < n; i++) b.column(0, 0, 1, true);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const value = (37 * (i + 1) * (r + 3) + ((i * i * 11) % 53) * (r + 1)) % 100;
      sum += value;
      b.term(i, value);
    }
    const slack = b.column(1, 0, infinity);
    const surplus = b.column(1, 0, infinity);
    b.term(slack, 1).term(surplus, -1);
    b.row(Math.floor(sum / 2), Math.floor(sum / 2));
  }
  return b.build();
}
