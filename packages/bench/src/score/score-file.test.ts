import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseScoreFile, scoreStreams } from "./score-file.ts";

const stream = {
  id: "a",
  inter_token_times_us: [100_000, 50_000, 150_000],
  target_ttft_us: 100_000,
  target_tbt_us: 50_000,
};

describe("parseScoreFile", () => {
  it("reads the contract's keys and lets notes pass", () => {
    const text = JSON.stringify({ note: "x", per_request: [{ ...stream, why: "y" }] });
    expect(parseScoreFile(text, "a.json")).toEqual([stream]);
  });

  it.each([
    ["{", /a\.json:1/],
    ["[]", /a\.json.*mapping/],
    ['{"per_request": [{"id": "a"}]}', /missing/],
    ["{}", /per_request.*missing/],
    [JSON.stringify({ per_request: [{ ...stream, inter_token_times_us: [0.5] }] }), /0\.5/],
    [JSON.stringify({ per_request: [{ ...stream, inter_token_times_us: [-1] }] }), /-1/],
    [JSON.stringify({ per_request: [{ ...stream, target_tbt_us: 0 }] }), /target_tbt_us/],
  ])("says where %s is wrong", (text, expected) => {
    let said = "";
    try {
      parseScoreFile(text, "a.json");
    } catch (error) {
      const { at, message } = error as { at: { file: string; line: number }; message: string };
      said = `${at.file}:${at.line} ${message}`;
    }
    expect(said).toMatch(expected);
  });
});

describe("scoreStreams", () => {
  it("scores both arithmetics and pools what it scored", () => {
    const exact = scoreStreams([stream, { ...stream, id: 2, inter_token_times_us: [0] }]);
    expect(exact.results).toEqual([
      { id: "a", met: 2, missed: 3, index: 0.4, onTimeShare: 2 / 3 },
      { id: 2, met: 1, missed: 0, index: 1, onTimeShare: 1 },
    ]);
    expect(exact.pooled).toEqual({ met: 3, missed: 3, index: 0.5, onTimeShare: 0.75 });
    const [etalon] = scoreStreams([stream], "etalon").results;
    expect(etalon).toEqual({ id: "a", met: 2, missed: 2, index: 0.5, onTimeShare: 2 / 3 });
  });

  it("does not reward a stream without tokens", () => {
    const empty = { ...stream, inter_token_times_us: [] };
    expect(scoreStreams([empty]).pooled).toEqual({ met: 0, missed: 0, index: 0, onTimeShare: 0 });
  });
});

const casesPath = new URL("../../../../../shared/data/fluidity/cases.json", import.meta.url);
const present = existsSync(casesPath);
describe.skipIf(!present)(
  `scoreStreams, shared cases${present ? "" : ` (skipped: ${casesPath.pathname} is absent)`}`,
  () => {
    it("gives both columns of the file", () => {
      const text = readFileSync(casesPath, "utf8");
      const { per_request: cases } = JSON.parse(text) as {
        per_request: {
          expected: { met: number; missed: number; fluidity_index_float: number };
          etalon: { float_seconds: { missed: number; total: number; index: number } };
        }[];
      };
      const streams = parseScoreFile(text, "cases.json");
      expect(scoreStreams(streams).results).toMatchObject(
        cases.map(({ expected: e }) => ({
          met: e.met,
          missed: e.missed,
          index: e.fluidity_index_float,
        })),
      );
      expect(scoreStreams(streams, "etalon").results).toMatchObject(
        cases.map(({ etalon: { float_seconds: f } }) => ({
          met: f.total - f.missed,
          missed: f.missed,
          index: f.index,
        })),
      );
    });
  },
);
