import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readPlan, type WrittenAction, writePlan } from "./plan.ts";
import type { Problem } from "./problem.ts";
import { parseProblemFile, writeProblemFile } from "./problem-file.ts";
import { type MemoryEvent, simulate } from "./simulate.ts";

/** Input → a (10) → b (20, in place or not, mask 3) → loss (1). */
const tiny: Problem = {
  name: "tiny",
  fixed: 100,
  operators: [
    {
      name: "a",
      inputs: [],
      output: 20,
      parameterGradient: 4,
      forward: [{ time: 2, workspace: 5 }],
      backward: [{ time: 3, workspace: 6, needs: [] }],
    },
    {
      name: "b",
      inputs: [0],
      output: 20,
      parameterGradient: 0,
      forward: [
        { time: 1, workspace: 0 },
        { time: 1.5, workspace: 0, auxiliary: 3, inPlace: 0 },
      ],
      backward: [
        { time: 1, workspace: 0, needs: [0] },
        { time: 1, workspace: 0, needs: [4], inPlace: 0 },
        { time: 1, workspace: 2, needs: [0], split: { workspace: 9, frees: [0] } },
      ],
    },
    {
      name: "loss",
      inputs: [1],
      output: 1,
      parameterGradient: 0,
      forward: [{ time: 1, workspace: 0 }],
      backward: [{ time: 1, workspace: 0, needs: [1] }],
    },
  ],
};

const run = (written: readonly WrittenAction[]) => {
  const events: MemoryEvent[] = [];
  const plan = readPlan(tiny, written);
  expect(writePlan(tiny, plan)).toEqual(written);
  return {
    verdict: simulate(tiny, plan, { onEvent: (event) => events.push(event) }),
    during: events.map((event) => event.during),
    events,
  };
};

describe("a plan", () => {
  test("is counted action by action", () => {
    const { verdict, during, events } = run([
      ["f", 0, 0],
      ["f", 1, 0],
      ["f", 2, 0],
      ["b", 2, 0],
      ["x", "o1"],
      ["b", 1, 0],
      ["x", "o0"],
      ["b", 0, 0],
    ]);
    // b 2: o0, o1, o2 and a new gradient of 20; b 1: gradient of b, o0, o2 and a new gradient of 20.
    expect(during).toEqual([125, 140, 141, 161, 161, 161, 141, 131]);
    expect(verdict).toEqual({ valid: true, time: 9, peak: 161, peakAt: 3, recomputations: 0 });
    expect(events.at(-1)).toMatchObject({
      end: 9,
      workspace: 6,
      parameterGradients: 4,
      after: 105,
    });
  });

  test("runs in place forward and backward, and keeps a mask", () => {
    const { verdict, during } = run([
      ["f", 0, 0],
      ["f", 1, 1],
      ["f", 2, 0],
      ["x", "o2"],
      ["b", 2, 0],
      ["x", "o1"],
      ["b", 1, 1],
      ["b", 0, 0],
    ]);
    expect(during).toEqual([125, 123, 124, 124, 143, 143, 123, 133]);
    expect(verdict).toMatchObject({ valid: true, peak: 143 });
  });

  test("splits a backward: its input goes before the new gradient comes", () => {
    const { verdict, during } = run([
      ["f", 0, 0],
      ["f", 1, 0],
      ["f", 2, 0],
      ["x", "o2"],
      ["b", 2, 0],
      ["x", "o1"],
      ["b", 1, 2],
      ["b", 0, 0],
    ]);
    // First half: gradient 20, o0, workspace 9; second: gradients 40, workspace 2.
    expect(during[6]).toBe(149);
    expect(verdict).toMatchObject({ valid: true, peak: 160 });
  });

  test("names the first action that cannot be done", () => {
    const reasons: [WrittenAction[], number, RegExp][] = [
      [[["f", 1, 0]], 0, /without its input o0/],
      [[["x", "o1"]], 0, /frees o1, which is not there/],
      [[["x", "q1"]], 0, /does not exist/],
      [[["f", 0, 7]], 0, /no forward choice 7/],
      [[["f", 9, 0]], 0, /operator 9 does not exist/],
      [[["b", 2, 0]], 0, /before the loss/],
      [
        [
          ["f", 0, 0],
          ["f", 1, 1],
          ["f", 1, 0],
        ],
        2,
        /without its input o0/,
      ],
      [
        [
          ["f", 0, 0],
          ["f", 1, 0],
          ["f", 2, 0],
          ["b", 1, 0],
        ],
        3,
        /operator 2 is next/,
      ],
      [
        [
          ["f", 0, 0],
          ["f", 1, 0],
          ["f", 2, 0],
          ["b", 2, 0],
          ["f", 2, 0],
        ],
        4,
        /after its backward/,
      ],
      [
        [
          ["f", 0, 0],
          ["f", 1, 0],
          ["f", 2, 0],
          ["x", "o1"],
          ["b", 2, 0],
        ],
        4,
        /without o1/,
      ],
      [
        [
          ["f", 0, 0],
          ["f", 1, 0],
          ["f", 2, 0],
        ],
        3,
        /ends before backward of operator 2/,
      ],
    ];
    for (const [written, at, reason] of reasons) {
      const verdict = simulate(tiny, readPlan(tiny, written));
      expect(verdict).toMatchObject({ valid: false, at });
      if (!verdict.valid) expect(verdict.reason).toMatch(reason);
    }
  });
});

describe("files of problems", () => {
  test("are read back as they were written", () => {
    const [read] = parseProblemFile(
      writeProblemFile([{ name: "tiny", problem: tiny, budget: 150 }]),
      "f.json",
    );
    expect(read).toEqual({ name: "tiny", problem: tiny, budget: 150 });
  });

  test("name the place of what is wrong", () => {
    const text = writeProblemFile([{ name: "tiny", problem: tiny, budget: 150 }]);
    const wrong: [string, RegExp][] = [
      [
        text.replace('"inputs":[0]', '"inputs":[5]'),
        /cases\[0\]\.problem\.ops\[1\]\.inputs\[0\]: operator 5/,
      ],
      [
        text.replace('"need":["o1"]', '"need":["o8"]'),
        /ops\[2\]\.bwd\[0\]\.need\[0\]: no tensor "o8"/,
      ],
      [text.replace('"fixed":100', '"fixed":-1'), /cases\[0\]\.problem\.fixed/],
      [text.replace('"t":1.5', '"t":"x"'), /ops\[1\]\.fwd\[1\]\.t/],
      [text.slice(0, 40), /not valid JSON/],
    ];
    for (const [input, message] of wrong)
      expect(() => parseProblemFile(input, "f.json")).toThrow(message);
  });
});

const cases = new URL("../../../../../shared/data/remat/cases.json", import.meta.url);
test.skipIf(!existsSync(cases))(
  "worked plans have the peak and time that stand beside them",
  () => {
    const text = readFileSync(cases, "utf8");
    const file = JSON.parse(text).cases as {
      examplePlan: WrittenAction[];
      optimum: number;
      optimumPeak: number;
    }[];
    const problems = parseProblemFile(text, "cases.json");
    expect(problems.length).toBeGreaterThan(0);
    for (const [i, { problem }] of problems.entries()) {
      const { examplePlan, optimum, optimumPeak } = file[i] as (typeof file)[0];
      const verdict = simulate(problem, readPlan(problem, examplePlan));
      expect(verdict).toMatchObject({ valid: true, peak: optimumPeak });
      if (verdict.valid) expect(verdict.time).toBeCloseTo(optimum, 9);
    }
  },
);

test("an operator that has run before takes its time of running again", () => {
  const problem: Problem = {
    name: "again",
    fixed: 0,
    operators: [
      {
        name: "norm",
        inputs: [],
        output: 4,
        parameterGradient: 0,
        forward: [{ time: 3, again: 1, workspace: 0 }],
        backward: [{ time: 5, workspace: 0, needs: [0] }],
      },
      {
        name: "loss",
        inputs: [0],
        output: 1,
        parameterGradient: 0,
        forward: [{ time: 7, workspace: 0 }],
        backward: [{ time: 11, workspace: 0, needs: [] }],
      },
    ],
  };
  const forward = (operator: number) => ({ kind: "forward", operator, choice: 0 }) as const;
  const backward = (operator: number) => ({ kind: "backward", operator, choice: 0 }) as const;
  const free = { kind: "free", tensor: 0 } as const;
  const plan = [forward(0), forward(1), free, backward(1), forward(0), backward(0)];
  expect(simulate(problem, plan)).toMatchObject({ valid: true, time: 3 + 7 + 11 + 1 + 5 });
  const file = writeProblemFile([{ name: "again", problem, budget: undefined }]);
  expect(parseProblemFile(file, "again.json")[0]?.problem.operators[0]?.forward[0]?.again).toBe(1);
});
