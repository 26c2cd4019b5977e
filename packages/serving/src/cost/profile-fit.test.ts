/** A machine of known cost, measured on a grid like a profile's: what the fit says of batches that the grid lacks. */
import { expect, test } from "vitest";
import type { StepGeometry, StepPoint, StepProfile } from "./profile.ts";
import { ProfileCost } from "./profile-cost.ts";
import type { StepWork } from "./step-work.ts";

const geometry: StepGeometry = {
  layers: 12,
  attentionWidth: 768,
  layerParameters: 75e6,
  headParameters: 15e6,
  format: "q8_0",
};

/** Milliseconds of the layers: one column is bound by memory, from two on other kernels take over, in eights. */
const layers = (columns: number): number =>
  columns === 1 ? 3 : 12 + 5 * Math.ceil(columns / 8) + 0.9 * columns;
const head = (columns: number): number => (columns === 0 ? 0 : 0.2 * layers(columns));

/** Attention of decodes runs by groups of slots: five at most. Building a graph takes 0.4 ms. */
function truth(work: StepWork): number {
  const tokens = work.prefillTokens + work.decodeRows;
  const attention = 0.3 * Math.min(work.decodeRows, 4) + 0.05 * work.decodeRows;
  const products = layers(tokens) + head(work.outputs);
  return 1e-3 * (products + attention + 0.4 * work.fresh + 1e-3 * work.decodeContext);
}

function work(chunks: number, chunk: number, decodes: number, ends = chunks): StepWork {
  const pairs = (chunks * chunk * chunk) / 2;
  return {
    ...{ prefillTokens: chunks * chunk, prefillRows: chunks, prefillPairs: pairs },
    ...{ tilePairs: pairs, shortPairs: 0, decodeRows: decodes, decodeContext: 80 * decodes },
    ...{ outputs: decodes + ends, mapped: 0, fresh: chunks > 0 ? 1 : 0 },
  };
}

const grid = [
  ...Array.from({ length: 90 }, (_, i) => work(1, i + 2, 0)),
  ...[96, 128, 160].map((t) => work(1, t, 0)),
  ...[1, 2, 3, 4, 5, 6, 8, 12, 16, 32].flatMap((n) => [
    work(0, 0, n),
    { ...work(0, 0, n), fresh: 1 },
  ]),
  ...[32, 64, 128].flatMap((t) => [4, 16, 31].map((n) => work(1, t, n))),
  ...[3, 6].flatMap((n) => [12, 28].map((t) => work(n, t, 0))),
];
const point = (w: StepWork): StepPoint => ({ ...w, seconds: truth(w), repeats: 5 });
const profile: StepProfile = {
  ...{ schema: "millrace.profile/1", model: "m", machine: "test", threads: 1, engine: "test" },
  ...{ date: "2026-11-29", units: { time: "s", length: "token" }, tileTokens: 1, geometry },
  ...{ points: grid.map(point), operators: [], loop: null, transport: null },
};

/** Errors over batches that the grid lacks: the largest, and their mean. */
function errors(cost: ProfileCost, works: readonly StepWork[]) {
  const off = works.map((w) => Math.abs(cost.computeSeconds(w) / truth(w) - 1));
  return { worst: Math.max(...off), mean: off.reduce((sum, x) => sum + x, 0) / off.length };
}

test("the head takes its columns, whatever stands beside it: decodes, prompts that end, prompts that go on", () => {
  const decodes = [7, 9, 10, 11, 14, 20, 24].map((n) => work(0, 0, n));
  const mixed = [1, 2, 6, 12, 24].flatMap((n) => [work(1, 40, n), work(4, 15, n)]);
  const middle = [64, 128].flatMap((t) => [work(1, t, 0, 0), work(1, t, 1, 0)]);
  const all = [...decodes, ...mixed, ...middle];
  const told = errors(new ProfileCost(profile), all);
  expect(told.worst).toBeLessThan(0.02);
  // A head that is not told apart is spread over the rows.
  const blind = errors(new ProfileCost({ ...profile, geometry: null }), all);
  expect(blind.mean).toBeGreaterThan(2 * told.mean);
});
