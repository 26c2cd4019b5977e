import { MillraceError } from "@millrace/core";
import { describe, expect, it } from "vitest";
import { parseStepProfile, STEP_PROFILE_SCHEMA } from "./profile.ts";

const point = {
  prefillTokens: 16,
  prefillRows: 1,
  prefillPairs: 128,
  tilePairs: 0,
  shortPairs: 128,
  decodeRows: 2,
  decodeContext: 40,
  outputs: 3,
  mapped: 0,
  fresh: 1,
  seconds: 0.01,
  repeats: 3,
};
const profile = {
  schema: STEP_PROFILE_SCHEMA,
  model: "SmolLM2-135M",
  machine: "Some CPU",
  threads: 2,
  engine: "millrace 0.1.0",
  date: "2026-11-23T00:00:00Z",
  units: { time: "s", length: "token" },
  tileTokens: 64,
  geometry: null,
  points: [point, point, point, point],
  operators: [{ operator: "attn_pre_proj", tokens: 18, seconds: 0.001 }],
  loop: {
    decode: [1.1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    prefill: [1, 1, 1, 1.02, 1, 1],
    step: 1e-4,
    freshDecode: 3e-4,
    prefillShare: 0.02,
    decodeRow: 1e-5,
    prefillRow: 2e-4,
    mapped: 1e-4,
    steps: 1000,
    jitter: { factors: Array(4).fill([0.9, 1, 1.1]), ranks: [0, 500, 1000] },
  },
  transport: {
    arrival: 2e-3,
    arrivalPerToken: 1e-6,
    delivery: 5e-4,
    arrivalSpread: [-1e-4, 0, 2e-3],
    deliverySpread: [0],
    deliveryRanks: [0, 1000],
    addedTokens: 1,
    requests: 100,
  },
};
const parse = (value: unknown) => parseStepProfile(JSON.stringify(value), "p.json");

describe("parseStepProfile", () => {
  it("reads what it describes", () => {
    expect(parse(profile)).toEqual(profile);
  });

  it("takes absent counts as 0 and one repeat", () => {
    const short = { decodeRows: 1, decodeContext: 5, seconds: 1 };
    const read = parse({ ...profile, points: Array(4).fill(short), operators: undefined });
    expect(read.points[0]?.prefillTokens).toBe(0);
    expect(read.points[0]?.repeats).toBe(1);
    expect(read.operators).toEqual([]);
  });

  it.each([
    ["another schema", { ...profile, schema: "x/1" }, "schema"],
    ["other units", { ...profile, units: { time: "ms", length: "token" } }, "units"],
    ["too few points", { ...profile, points: [point] }, "at least 4"],
    ["a missing machine", { ...profile, machine: undefined }, "machine"],
    ["a bad date", { ...profile, date: "yesterday" }, "yesterday"],
    [
      "a time of 0",
      { ...profile, points: [...profile.points, { ...point, seconds: 0 }] },
      "points[4].seconds",
    ],
    [
      "a null time",
      { ...profile, points: [...profile.points, { ...point, seconds: null }] },
      "points[4].seconds",
    ],
    [
      "a fraction of a row",
      { ...profile, points: [{ ...point, decodeRows: 0.5 }] },
      "points[0].decodeRows",
    ],
    ["an empty batch", { ...profile, points: [{ seconds: 1 }] }, "points[0] computes no tokens"],
    ["chunks without tokens", { ...profile, points: [{ ...point, prefillRows: 0 }] }, "0 chunks"],
    ["a loop with a key missing", { ...profile, loop: { step: 1 } }, "loop.freshDecode"],
    [
      "a negative delivery",
      { ...profile, transport: { ...profile.transport, delivery: -1 } },
      "transport.delivery",
    ],
    ["no object", [], "not an object"],
  ])("refuses %s", (_, value, words) => {
    expect(() => parse(value)).toThrow(MillraceError);
    expect(() => parse(value)).toThrow(words);
  });

  it("refuses text that is not JSON by file name", () => {
    expect(() => parseStepProfile("{", "p.json")).toThrow("p.json: not valid JSON");
  });
});
