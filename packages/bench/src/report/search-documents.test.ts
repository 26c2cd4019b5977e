import { renderReport } from "@millrace/report";
import { expect, test } from "vitest";
import { fluidityCurve } from "../capacity/curve.ts";
import type { CapacityProbe, CapacityReport } from "../capacity/report.ts";
import { interleaved, lengthGrid } from "../prefill/grid.ts";
import { prefillReport } from "../prefill/report.ts";
import { capacityDocument } from "./capacity-report.ts";
import { prefillDocument } from "./prefill-report.ts";

const endpoint = {
  url: "http://x/v1/chat/completions",
  api: "chat",
  model: "m",
  choices: 1,
} as const;

test("a prefill curve as a page: repeats, curve, what was left out", () => {
  const lengths = lengthGrid(64, 1024);
  const samples = interleaved(lengths, 5, 1).map((askedTokens, i) => ({
    ...{ askedTokens, promptTokens: askedTokens },
    seconds: (0.01 + 1e-4 * askedTokens) * (1 + 0.01 * (i % 3)),
  }));
  const report = prefillReport(samples, {
    ...{ measuredAt: "2026-01-01T00:00:00.000Z", endpoint, seed: "1", tokenizer: "o200k_base" },
    ...{ statistic: "p10", failed: 0, verdict: "INVALID", reasons: ["The client was slow."] },
  });
  const document = prefillDocument({ report, context: { command: "millrace bench prefill" } });
  expect(document.verdict.tone).toBe("warning");
  expect(document.verdict.detail).toContain("The client was slow.");
  expect(document.sections.map(({ id }) => id)).toEqual(["curve", "trust", "lengths"]);
  const table = document.sections[2]?.blocks[0];
  expect(table?.kind === "table" && table.rows.map(({ cells }) => cells[0])).toEqual(lengths);
  const html = renderReport(document);
  for (const text of ["o200k_base", "Predicted from the others", "Repeats against the curve"])
    expect(html).toContain(text);
});

const no = { n: 1, mean: 1, p50: 1, p90: 1, p95: 1, p99: 1, max: 1 };
const probe = (
  number: number,
  rateQps: number,
  outcome: CapacityProbe["outcome"],
): CapacityProbe => ({
  ...{ number, rateQps, outcome, doubt: 0.1, cutShort: outcome === "missed", seconds: 1 },
  reasons: outcome === "met" ? [] : [`probe ${number} was ${outcome}.`],
  ...{ requests: 100, errors: 0, offeredQps: rateQps, sentQps: rateQps, completedQps: rateQps },
  ...{ ttftMs: no, tbtMs: no, slo: [], raw: null, fluidRequests: outcome === "met" ? 1 : 0.5 },
  fluidity: { index: outcome === "met" ? 0.99 : 0.7, low: 0.6, high: 1 },
});

test("a capacity search as a page: the answer, the curve, the probes in order", () => {
  const probes = [
    probe(1, 1, "met"),
    probe(2, 4, "missed"),
    probe(3, 2, "invalid"),
    probe(4, 2, "met"),
  ];
  const report: CapacityReport = {
    ...{ schema: "millrace.bench-capacity/1", endpoint, seed: "1", slo: ["fluid-requests>=99%"] },
    targets: { ttft: { type: "constant", us: 1 }, tbtUs: 1 },
    ...{ maxErrors: 0.01, startQps: 1, prediction: { source: "plan.json", rateQps: 3 } },
    ...{ tolerance: 0.025, end: "settled", problem: null },
    capacity: {
      ...{ valueQps: 3, lowQps: 2.9, highQps: 3.1, confidence: 0.95, errorRate: 0.01 },
      ...{ probes: 3, invalid: 1, highestMetQps: 2, lowestMissedQps: 4 },
    },
    ...{ probes, curve: fluidityCurve(probes) },
  };
  const document = capacityDocument({ report });
  expect(document.verdict.headline).toContain("up to 3 requests per second");
  const table = document.sections.at(-1)?.blocks[0];
  expect(table?.kind === "table" && table.rows.map(({ cells }) => cells[1])).toEqual([1, 4, 2, 2]);
  const html = renderReport(document);
  for (const text of ["probe 2 was missed.", "lowest rate missed", "plan.json"])
    expect(html).toContain(text);
  // One that never got anywhere still says so.
  const none: CapacityReport = {
    ...report,
    ...{ probes: [], curve: [], end: "client-limited", problem: "It is too slow." },
    capacity: { ...report.capacity, highestMetQps: null, lowestMissedQps: null },
  };
  const page = renderReport(capacityDocument({ report: none }));
  for (const text of ["could not send a valid load", "It is too slow."])
    expect(page).toContain(text);
});
