/** A serving loop of known cost is recovered from its log, on top of a profile of known cost. */
import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { fitLoop } from "./loop-fit.ts";
import type { StepPoint, StepProfile } from "./profile.ts";
import { ProfileCost } from "./profile-cost.ts";
import { stepResiduals } from "./residuals.ts";
import { atSpeed, meanSpeed, type StepSpeed, stepSpeed } from "./step-speed.ts";
import type { StepTimed } from "./step-timings.ts";
import { fitTransport } from "./transport-fit.ts";

const tight = (tokens: number): number => 1e-3 + 4e-4 * tokens;

function point(prefillTokens: number, decodeRows: number): StepPoint {
  const pairs = (prefillTokens * prefillTokens) / 2;
  return {
    prefillTokens,
    prefillRows: prefillTokens > 0 ? 1 : 0,
    prefillPairs: pairs,
    tilePairs: pairs,
    shortPairs: 0,
    decodeRows,
    decodeContext: 50 * decodeRows,
    outputs: decodeRows + (prefillTokens > 0 ? 1 : 0),
    mapped: 0,
    fresh: 0,
    seconds: tight(prefillTokens + decodeRows),
    repeats: 5,
  };
}

const profile: StepProfile = {
  schema: "millrace.profile/1",
  model: "test",
  machine: "test",
  threads: 1,
  engine: "test",
  date: "2026-11-28",
  units: { time: "s", length: "token" },
  tileTokens: 1,
  geometry: null,
  points: [
    ...Array.from({ length: 40 }, (_, i) => point(0, i + 1)),
    ...[16, 32, 64, 100, 128, 160].map((t) => point(t, 0)),
  ],
  operators: [],
  loop: null,
  transport: null,
};

/** A log whose steps take 20 % more for a lone decode, and some time for rows, chunks and changes. */
function log(count: number, noise: number, seed: number): StepTimed[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => {
    const chunk = rng.next() < 0.2 ? ([16, 64, 128][rng.int(0, 2)] ?? 16) : 0;
    const rows = rng.int(chunk === 0 ? 1 : 0, 12);
    const fresh = chunk > 0 || rng.next() < 0.2 ? 1 : 0;
    const factor = chunk === 0 && rows === 1 ? 1.2 : 1;
    const { seconds: _, repeats: __, ...work } = point(chunk, rows);
    const computeSeconds = factor * tight(chunk + rows);
    const host = 2e-4 + 2e-5 * rows + (chunk > 0 ? 3e-4 : 3e-4 * fresh);
    const exact = computeSeconds + host;
    return {
      ...work,
      fresh,
      computeSeconds,
      periodSeconds: exact * (1 + noise * (rng.next() - 0.5)),
      at: 0,
    };
  });
}

test("on a load that it has not seen, no kind of step keeps a bias", () => {
  const loop = fitLoop(profile, log(4000, 0.4, 1));
  const cost = new ProfileCost({ ...profile, loop });
  const groups = stepResiduals(cost, log(4000, 0.4, 2));
  const [all] = groups;
  expect(Math.abs(all?.bias ?? 1)).toBeLessThan(0.01);
  // Without the loop a lone decode is 30 % too short.
  expect(all?.computeBias).toBeLessThan(0);
  for (const { by, share, bias } of groups)
    if (by === "phase" && share > 0.05) expect(Math.abs(bias)).toBeLessThan(0.03);
  const phases = groups.filter(({ by }) => by === "phase");
  expect(phases.reduce((sum, { steps }) => sum + steps, 0)).toBe(4000);
  expect(cost.describe()).toContain("serving loop from 4000 steps");
});

test("a log that is too short says nothing", () => {
  expect(fitLoop(profile, log(100, 0, 1))).toBeNull();
});

test("transport: delays per request and per prompt token, whatever single requests suffer", () => {
  const rng = new Rng(5);
  const samples = Array.from({ length: 200 }, (_, i) => {
    const promptTokens = rng.int(10, 2000);
    const startedAt = i;
    const offeredAt = startedAt + 2e-3 + 1e-6 * promptTokens + (i % 17 === 0 ? 0.1 : 0);
    const emittedAt = [offeredAt + 0.02, offeredAt + 0.03];
    const receivedAt = emittedAt.map((at) => at + 7e-4);
    return {
      startedAt,
      offeredAt,
      promptTokens,
      askedTokens: promptTokens - 1,
      emittedAt,
      receivedAt,
    };
  });
  const fit = fitTransport(samples);
  expect(fit?.arrival).toBeCloseTo(2e-3, 4);
  expect(fit?.arrivalPerToken).toBeCloseTo(1e-6, 7);
  expect(fit?.delivery).toBeCloseTo(7e-4, 6);
  expect(fit?.addedTokens).toBe(1);
  // One request in 17 is late by 0.1 s: the middle of the spread does not know it, its end does.
  expect(fit?.arrivalSpread[50]).toBeCloseTo(0, 5);
  expect(fit?.arrivalSpread.at(-1)).toBeCloseTo(0.1, 3);
  expect(fitTransport(samples.slice(0, 5))).toBeNull();
});

test("the speed of a moment is found, and trusted by how sure it is", () => {
  const loop = fitLoop(profile, log(4000, 0.4, 1));
  const known = { ...profile, loop };
  const cost = new ProfileCost(known);
  const slower = (count: number, noise: number, by: number) =>
    log(count, noise, 8).map((step) => ({ ...step, periodSeconds: by * step.periodSeconds }));
  const sure = stepSpeed(cost, slower(2000, 0.1, 1.05));
  expect(sure?.all.ratio).toBeCloseTo(1.05, 2);
  expect(sure?.decode?.ratio).toBeCloseTo(1.05, 1);
  expect(sure?.all.error).toBeLessThan(0.01);
  const biasOf = (of: typeof sure, steps: ReturnType<typeof log>): number =>
    stepResiduals(new ProfileCost(atSpeed(known, of as StepSpeed)), steps)[0]?.bias ?? 1;
  // A speed that is sure is still one of a moment: most of it is believed, not all.
  expect(Math.abs(biasOf(sure, slower(2000, 0.1, 1.05)))).toBeLessThan(0.025);
  expect(biasOf(sure, slower(2000, 0.1, 1))).toBeGreaterThan(0.025);
  // Two percent are believed by two thirds at most, ten percent nearly whole: no moment is that far off.
  const believed = (by: number): number =>
    biasOf(stepSpeed(cost, slower(2000, 0.1, by)), slower(2000, 0.1, 1)) / (by - 1);
  expect(believed(1.02)).toBeLessThan(0.7);
  expect(believed(1.1)).toBeGreaterThan(0.9);
  // Forty steps that scatter by half their length are no reason to believe that the machine is a fifth slower.
  const unsure = stepSpeed(cost, slower(40, 1.8, 1.2));
  expect(biasOf(unsure, slower(2000, 0.1, 1))).toBeLessThan((unsure?.all.ratio ?? 0) - 1);
  expect(stepSpeed(cost, slower(19, 0.1, 1))).toBeNull();
});

test("lone decodes have a speed of their own", () => {
  const known = { ...profile, loop: fitLoop(profile, log(4000, 0.4, 1)) };
  const lone = (step: StepTimed): boolean => step.prefillRows === 0 && step.decodeRows === 1;
  const steps = log(4000, 0.1, 9).map((step) =>
    lone(step) ? { ...step, periodSeconds: 1.1 * step.periodSeconds } : step,
  );
  const speed = stepSpeed(new ProfileCost(known), steps) as StepSpeed;
  expect(speed.lone?.ratio).toBeCloseTo(1.1, 1);
  expect(speed.decode?.ratio).toBeCloseTo(1, 1);
  expect(speed.prefill?.ratio).toBeCloseTo(1, 1);
  const now = new ProfileCost(atSpeed(known, speed));
  const biasOf = (some: readonly StepTimed[]): number => stepResiduals(now, some)[0]?.bias ?? 1;
  expect(biasOf(steps.filter(lone))).toBeGreaterThan(-0.02);
  expect(Math.abs(biasOf(steps.filter((step) => !lone(step))))).toBeLessThan(0.02);
});

test("of several moments each counts alike, whatever their order", () => {
  const kind = (ratio: number, error = 0.01) => ({ ratio, error, steps: 100 });
  const moment = (ratio: number, lone: number | null): StepSpeed => ({
    ...{ all: kind(ratio), lone: lone === null ? null : kind(lone) },
    ...{ decode: null, prefill: kind(ratio) },
  });
  const moments = [moment(1, 1.2), null, moment(2, null), moment(4, 1.8)];
  const mean = meanSpeed(moments);
  expect(mean?.all.ratio).toBeCloseTo(2, 9);
  expect(mean?.all.error).toBeCloseTo(0.01 / Math.sqrt(3), 9);
  expect(mean?.all.steps).toBe(300);
  expect(mean?.lone?.ratio).toBeCloseTo(Math.sqrt(1.2 * 1.8), 9);
  expect(mean?.decode).toBeNull();
  expect(meanSpeed([...moments].reverse())?.all.ratio).toBeCloseTo(2, 9);
  expect(meanSpeed([null, null])).toBeNull();
});
