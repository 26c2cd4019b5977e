import { expect, test } from "vitest";
import { braillePlot } from "./plot.ts";

const format = (value: number): string => String(value);

test("draws a rising line from corner to corner, with its axes", () => {
  const plot = braillePlot(
    [
      {
        kind: "line",
        points: [
          [0, 0],
          [10, 1],
        ],
      },
    ],
    { cells: 8, lines: 2, x: { low: 0, high: 10, format }, y: { low: 0, high: 1, format } },
  );
  expect(plot).toEqual(["1 ┤⠀⠀⠀⠀⣀⠤⠒⠉", "0 ┤⣀⠤⠒⠉⠀⠀⠀⠀", "   0     10"]);
});

test("points alone, on logarithmic axes; what is outside is left out", () => {
  const axis = { low: 1, high: 100, log: true, format };
  const points = [
    [1, 1],
    [10, 10],
    [100, 100],
    [1000, 5],
    [5, 0],
  ] as const;
  const plot = braillePlot([{ kind: "points", points }], { cells: 3, lines: 3, x: axis, y: axis });
  const dots = [...plot.join("")].filter((c) => c > "\u2800" && c <= "\u28ff");
  expect(dots).toHaveLength(3);
});

test("nothing for an axis that is none", () => {
  const axis = { low: 1, high: 1, format };
  expect(braillePlot([], { cells: 3, lines: 3, x: axis, y: { ...axis, high: 2 } })).toEqual([]);
  const log = { low: 0, high: 1, log: true, format };
  expect(braillePlot([], { cells: 3, lines: 3, x: log, y: { ...axis, high: 2 } })).toEqual([]);
});
