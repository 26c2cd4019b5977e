/** A machine of known cost: the profile of one decoder says what steps of another take. */
import { expect, test } from "vitest";
import type { StepGeometry, StepPoint, StepProfile } from "./profile.ts";
import { ProfileCost } from "./profile-cost.ts";
import { scaleProfile } from "./scale-profile.ts";
import type { StepWork } from "./step-work.ts";

const small: StepGeometry = {
  layers: 12,
  attentionWidth: 768,
  layerParameters: 75e6,
  headParameters: 6e6,
  format: "q8_0",
};
const wide: StepGeometry = {
  layers: 6,
  attentionWidth: 1024,
  layerParameters: 68e6,
  headParameters: 33e6,
  format: "q8_0",
};

/** Seconds per weight by columns, with a cliff every six of them. */
const perWeight = (columns: number): number => 4e-11 + 1.4e-11 * 6 * Math.ceil(columns / 6);

function truth(g: StepGeometry, work: StepWork): number {
  const tokens = work.prefillTokens + work.decodeRows;
  return (
    2e-5 * g.layers +
    g.layerParameters * perWeight(tokens) +
    g.headParameters * perWeight(work.outputs) +
    g.layers * g.attentionWidth * 1e-11 * (work.prefillPairs + work.decodeContext)
  );
}

function work(chunk: number, decodes: number, context: number): StepWork {
  const pairs = chunk * (chunk / 2);
  return {
    prefillTokens: chunk,
    prefillRows: chunk > 0 ? 1 : 0,
    prefillPairs: pairs,
    tilePairs: pairs,
    shortPairs: 0,
    decodeRows: decodes,
    decodeContext: decodes * context,
    outputs: decodes + (chunk > 0 ? 1 : 0),
    mapped: 0,
    fresh: 0,
  };
}

const works = [
  ...Array.from({ length: 64 }, (_, i) => work(i + 2, 0, 0)),
  ...[96, 128, 192, 256].map((t) => work(t, 0, 0)),
  ...[1, 2, 4, 8, 16, 32].flatMap((d) => [32, 256, 512].map((c) => work(0, d, c))),
  ...[64, 128].flatMap((t) => [4, 16].map((d) => work(t, d, 128))),
];
const profile: StepProfile = {
  schema: "millrace.profile/1",
  model: "small",
  machine: "test",
  threads: 1,
  engine: "test",
  date: "2026-11-28",
  units: { time: "s", length: "token" },
  tileTokens: 1,
  geometry: small,
  points: works.map((w): StepPoint => ({ ...w, seconds: truth(small, w), repeats: 5 })),
  operators: [],
  loop: null,
  transport: null,
};

test("steps of the other geometry are within 8 %, the head and the cliffs with them", () => {
  const cost = new ProfileCost(scaleProfile(profile, wide));
  const off = [
    work(0, 1, 100),
    work(0, 7, 300),
    work(0, 24, 64),
    work(100, 0, 0),
    work(128, 9, 90),
  ].map((w) => cost.computeSeconds(w) / truth(wide, w) - 1);
  expect(off.map(Math.abs).every((error) => error < 0.08)).toBe(true);
  // The head is five times as large: that a decode is dearer than a chunk's token must come through.
  const naive = new ProfileCost(profile);
  const dearer = (c: ProfileCost): number =>
    c.computeSeconds(work(0, 32, 32)) / c.computeSeconds(work(32, 0, 0));
  expect(dearer(cost)).toBeGreaterThan(dearer(naive) * 1.1);
});

test("to its own geometry a profile stays as it is", () => {
  scaleProfile(profile, small).points.forEach((p, i) => {
    expect(p.seconds).toBeCloseTo((profile.points[i] as StepPoint).seconds, 12);
  });
});

test("a profile without geometry, or of another format, is refused", () => {
  expect(() => scaleProfile({ ...profile, geometry: null }, wide)).toThrow("has no geometry");
  expect(() => scaleProfile(profile, { ...wide, format: "q4_K" })).toThrow("not of q4_K");
});
