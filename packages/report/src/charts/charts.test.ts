import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { planSample, simulationSample } from "../samples.conformance.ts";
import { agreementChart } from "./agreement.ts";
import { tickValues } from "./axes.ts";
import { barChart } from "./bar.ts";
import { batchCompositionChart } from "./batch-composition.ts";
import { capacityChart } from "./capacity.ts";
import { cdfChart } from "./cdf.ts";
import { lineChart } from "./line.ts";
import { frontOf, paretoChart } from "./pareto.ts";
import { scatterChart } from "./scatter.ts";
import { stageGantt } from "./stage-gantt.ts";
import { timelineChart } from "./timeline.ts";

const run = simulationSample(2000, 5000, 4);
const big = 300_000;
const ramp = Float64Array.from({ length: big }, (_, i) => 0.01 + (i / big) ** 8 * 90);
const flat = new Float64Array(big);
const noise = Int32Array.from({ length: big }, (_, i) => (i * 7919) % 513);
const timeline = run.timeline;
if (timeline === null) throw new Error("the sample has a timeline");

function scatter(points: readonly (readonly [number, number])[]): string {
  const axis = (label: string) => ({ label, format: "seconds" as const });
  return scatterChart({ title: "t", points, x: axis("a"), y: axis("b"), band: 0.09 });
}

/** Every chart three times: nothing, one point, and far more than fits on a screen. */
const charts: Record<string, Record<"empty" | "one" | "large", () => string>> = {
  scatter: {
    empty: () => scatter([[0, 1]]),
    one: () => scatter([[0.1, 0.2]]),
    large: () => scatter(Array.from(ramp, (x, i) => [x, ramp[big - 1 - i] as number])),
  },
  cdf: {
    empty: () =>
      cdfChart({ title: "t", series: [{ name: "a", quantiles: [Number.NaN] }], format: "seconds" }),
    one: () =>
      cdfChart({
        title: "t",
        series: [{ name: "a", quantiles: [2] }],
        format: "seconds",
        limit: { value: 2, quantile: 0.9 },
      }),
    large: () =>
      cdfChart({
        title: "t",
        series: ["a", "b", "c", "d"].map((name, i) => ({
          name,
          quantiles: ramp.map((v) => v * (i + 1)),
        })),
        format: "seconds",
        limit: { value: 40 },
      }),
  },
  batchComposition: {
    empty: () =>
      batchCompositionChart({
        count: 0,
        startsAt: [],
        endsAt: [],
        prefillTokens: [],
        decodeRows: [],
      }),
    one: () =>
      batchCompositionChart({
        count: 1,
        startsAt: [1],
        endsAt: [1],
        prefillTokens: [512],
        decodeRows: [3],
      }),
    large: () =>
      batchCompositionChart({
        count: big,
        startsAt: noise.map((_, i) => i),
        endsAt: noise.map((_, i) => i + 1),
        prefillTokens: noise,
        decodeRows: noise,
      }),
  },
  timeline: {
    empty: () => timelineChart({ title: "t", count: 0, startsAt: [], endsAt: [], panels: [] }),
    one: () =>
      timelineChart({
        title: "t",
        count: 1,
        startsAt: [0],
        endsAt: [2],
        panels: [{ name: "kv", heading: "KV", values: [0] }],
      }),
    large: () =>
      timelineChart({
        title: "t",
        count: big,
        startsAt: noise.map((_, i) => i),
        endsAt: noise.map((_, i) => i + 1),
        panels: ["kv", "queue", "x"].map((name) => ({ name, heading: name, values: noise })),
      }),
  },
  pareto: {
    empty: () =>
      paretoChart({
        title: "t",
        points: [],
        x: { label: "x", better: "low" },
        y: { label: "y", better: "low" },
      }),
    one: () =>
      paretoChart({
        title: "t",
        points: [{ x: 1, y: 0, label: "a", group: "g", best: true, pareto: true }],
        x: { label: "x", better: "low" },
        y: { label: "y", better: "low" },
        limit: { value: 2 },
      }),
    large: () =>
      paretoChart({
        title: "t",
        points: Array.from({ length: 50_000 }, (_, i) => ({
          x: (i * 37) % 1009,
          y: (i * 91) % 1013,
          label: `candidate number ${i}`,
          group: `g${i % 3}`,
        })),
        x: { label: "x", better: "low" },
        y: { label: "y", better: "low", log: true },
      }),
  },
  bar: {
    empty: () =>
      barChart({ title: "t", bars: [{ label: "a", value: Number.NaN }], format: "dollars" }),
    one: () =>
      barChart({
        title: "t",
        bars: [{ label: "a", value: 0, low: 0, high: 0 }],
        format: "dollars",
      }),
    large: () =>
      barChart({
        title: "t",
        bars: Array.from({ length: 5000 }, (_, i) => ({
          label: `a${i} `.repeat(40),
          value: i,
          low: i - 1,
          high: i + 1,
        })),
        format: "dollars",
      }),
  },
  capacity: {
    empty: () => capacityChart({ title: "t", rows: [{ label: "a", paper: null, ours: null }] }),
    one: () =>
      capacityChart({ title: "t", rows: [{ label: "a", paper: null, ours: { value: 3 } }] }),
    large: () =>
      capacityChart({
        title: "t",
        rows: Array.from({ length: 500 }, (_, i) => ({
          label: `row ${i}`,
          paper: { value: i },
          ours: { value: i, low: i - 1, high: i + 1 },
        })),
      }),
  },
  stageGantt: {
    empty: () => stageGantt({ title: "t", timeline: { ...timeline, count: 0 } }),
    one: () => stageGantt({ title: "t", timeline: { ...timeline, count: 1 } }),
    large: () => stageGantt({ title: "t", timeline, batches: 10_000 }),
  },
  agreement: {
    empty: () => agreementChart({ title: "t", rows: [{ claim: "a", theirs: 0, ours: 1 }] }),
    one: () => agreementChart({ title: "t", rows: [{ claim: "a", theirs: 1, ours: 1 }] }),
    large: () =>
      agreementChart({
        title: "t",
        rows: Array.from({ length: 500 }, (_, i) => ({
          claim: "a claim ".repeat(30),
          theirs: i + 1,
          ours: i + 2,
          low: i + 1,
          high: i + 3,
        })),
      }),
  },
  line: {
    empty: () => lineChart({ title: "t", series: [], x: { label: "x" }, y: { label: "y" } }),
    one: () =>
      lineChart({
        title: "t",
        series: [{ name: "a", points: [{ x: 1, y: 1 }] }],
        x: { label: "x", log: true },
        y: { label: "y", log: true },
      }),
    large: () =>
      lineChart({
        title: "t",
        series: ["a", "b", "c"].map((name) => ({
          name,
          points: Array.from({ length: 40_000 }, (_, i) => ({
            x: i,
            y: noise[i],
            low: noise[i] - 1,
            high: noise[i] + 1,
          })),
        })),
        x: { label: "x" },
        y: { label: "y" },
      }),
  },
};

for (const [name, sizes] of Object.entries(charts))
  describe(name, () => {
    for (const [size, draw] of Object.entries(sizes))
      test(`${size}: one small, named SVG without a number that is not one`, () => {
        const text = draw();
        const { document } = parseHTML(`<!doctype html><html><body>${text}</body></html>`);
        const svg = document.querySelector("svg");
        expect(document.body.children.length).toBe(1);
        expect(svg?.getAttribute("role")).toBe("img");
        expect(svg?.getAttribute("aria-label")).toBeTruthy();
        expect(svg?.querySelector("title")?.textContent).toBeTruthy();
        expect(text).not.toMatch(/NaN|Infinity|undefined|<style|<script/);
        expect(text.length).toBeLessThan(100_000);
        expect(draw()).toBe(text);
      });
  });

test("flat and single-valued data still have an axis", () => {
  expect(
    cdfChart({ title: "t", series: [{ name: "a", quantiles: flat }], format: "seconds" }),
  ).toContain("path");
  expect(tickValues([0, 0.1], 5)).toEqual([0, 0.02, 0.04, 0.06, 0.08, 0.1]);
  expect(tickValues([0.001, 100], 6, true)).toEqual([0.001, 0.01, 0.1, 1, 10, 100]);
  expect(tickValues([0.3, 4], 5, true)).toEqual([0.5, 1, 2]);
});

test("the front holds exactly the points that nothing beats", () => {
  const points = planSample().candidates.map((c) => ({ x: c.dollarsPerHour, y: c.slo[0].value }));
  for (const p of frontOf(points, { x: "low", y: "high" })) {
    const beaten = points.some((o) => o.x <= p.x && o.y >= p.y && (o.x < p.x || o.y > p.y));
    expect(p.pareto).toBe(!beaten);
  }
});

test("a request far off does not press all others into a corner: it is drawn at the border and counted", () => {
  const usual = Array.from({ length: 200 }, (_, i) => [0.01 + i / 1e4, 0.01 + i / 1e4] as const);
  expect(scatter(usual)).not.toContain("beyond the axes");
  const chart = scatter([...usual, [5e-6, 0.02], [0.02, 40]]);
  expect(chart).toContain("2 beyond the axes, at their border");
  expect(chart).not.toContain("µs");
  expect(chart.match(/<circle/g)).toHaveLength(202);
});
