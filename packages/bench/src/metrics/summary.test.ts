import fc from "fast-check";
import { expect, test } from "vitest";
import { failedRecord, record, runOf, targets } from "./record.conformance.ts";
import { parseSlo } from "./slo.ts";
import { summarizeRun } from "./summary.ts";
import { tokenGaps } from "./token-streams.ts";

test("chunks become token gaps: the chunk's gap, then zeros, per choice", () => {
  const chunks = {
    timeUs: Float64Array.of(100, 130, 150, 190),
    tokens: Int32Array.of(2, 1, 0, 3),
    chars: Int32Array.of(8, 4, 1, 9),
    choice: Uint16Array.of(0, 1, 0, 0),
    kind: new Uint8Array(4),
    serverUs: null,
  };
  const gaps = tokenGaps({ chunks, askedChoices: 3 }, 40);
  expect(gaps.map((list) => [...list])).toEqual([[60, 0, 90, 0, 0], [90], []]);
});

test("every token that was counted has one gap, and the gaps lead to the last token", () => {
  const chunk = fc.record({ dt: fc.nat(100_000), n: fc.nat(5), choice: fc.nat(2) });
  fc.assert(
    fc.property(fc.array(chunk, { minLength: 1 }), (list) => {
      let at = 0;
      const timeUs = Float64Array.from(list, ({ dt }) => (at += dt));
      const tokens = Int32Array.from(list, ({ n }) => n);
      const chunks = {
        ...{ timeUs, tokens, chars: tokens, kind: new Uint8Array(list.length), serverUs: null },
        choice: Uint16Array.from(list, ({ choice }) => choice),
      };
      const gaps = tokenGaps({ chunks, askedChoices: 1 }, 0);
      expect(gaps.reduce((n, g) => n + g.length, 0)).toBe(tokens.reduce((a, b) => a + b, 0));
      for (const [choice, g] of gaps.entries()) {
        const last = list.findLastIndex((c) => c.choice === choice && c.n > 0);
        expect(g.reduce((a, b) => a + b, 0)).toBe(last < 0 ? 0 : timeUs[last]);
      }
    }),
  );
});

test("latencies count from the schedule and from the start", () => {
  const late = record(0, [300, 340], { startedUs: 200_000 });
  const { latencyMs } = summarizeRun(runOf([late]), { targets });
  expect(latencyMs.ttft.scheduled.p50).toBe(300);
  expect(latencyMs.ttft.started.p50).toBe(100);
  expect(latencyMs.tbt.max).toBe(40);
  expect(latencyMs.e2e.scheduled.mean).toBe(340);
});

test("a failed request misses all it was asked for and has no latency", () => {
  const run = runOf([record(0, [50, 100, 150]), failedRecord(1, 20, [10, 20])]);
  const report = summarizeRun(run, { targets });
  expect(report.fluidity).toMatchObject({ met: 3, missed: 20, shareAbove90: 0.5 });
  expect(report.fluidity.index).toBeCloseTo(3 / 23, 12);
  expect(report.fluidity.onTimeShare).toBeCloseTo(3 / 23, 12);
  expect(report.fluidity.fluidTokenRate).toBe(0);
  expect(report.latencyMs.ttft.scheduled.n).toBe(1);
  expect(report.requests).toMatchObject({ ok: 1, failed: 1 });
  expect(report.errors).toMatchObject([{ class: "reset", count: 1, example: "gone" }]);
});

test("a stall of several periods misses several deadlines, once in the on-time share", () => {
  // Slack after three tokens is 50 + 2 x 0: the fourth is 160 ms late at a period of 50.
  const report = summarizeRun(runOf([record(0, [100, 150, 200, 410])]), { targets });
  expect(report.fluidity).toMatchObject({ met: 3, missed: 4 });
  expect(report.fluidity.onTimeShare).toBe(0.75);
});

test("etalon's arithmetic is there on demand", () => {
  // 0.25 // 0.05 is 4 in floats: etalon counts one miss less than whole microseconds do.
  const run = runOf([record(0, [100, 400])]);
  const exact = summarizeRun(run, { targets }).fluidity;
  const etalon = summarizeRun(run, { targets, compat: "etalon" }).fluidity;
  expect(exact.missed - etalon.missed).toBe(1);
  expect(etalon.arithmetic).toBe("etalon");
});

test("a target by prompt length comes from the curve, and only where it was measured", () => {
  const curve = { constant: 0.01, linear: 0.001, quadratic: 0, minTokens: 1, maxTokens: 100 };
  const ttft = { type: "curve", curve, slackUs: 30_000 } as const;
  const at = (askedPromptTokens: number | null): number =>
    summarizeRun(runOf([record(0, [139, 150], { askedPromptTokens })]), {
      targets: { ttft, tbtUs: 50_000 },
    }).fluidity.met;
  expect(at(100)).toBe(2);
  expect(at(98)).toBe(1);
  expect(() => at(126)).toThrow("does not answer for a prompt of 126");
  expect(() => at(null)).toThrow("prompt length is not known");
});

test("promises: read, held, broken", () => {
  const run = runOf([record(0, [50, 80, 120]), record(1, [90, 190])]);
  const slo = parseSlo(
    "ttft.p90<=100ms, tbt.max<=0.05s, e2e.mean<=155000us, fluidity>=0.9, errors<=0%, rate>=1",
  );
  const report = summarizeRun(run, { targets, slo });
  expect(report.slo.map(({ met }) => met)).toEqual([true, false, true, false, true, true]);
  expect(report.slo[1]).toMatchObject({ unit: "ms", limit: 50, value: 100 });
  // Both keep the mean's limit of end to end but one breaks TBT.
  expect(report.goodput.share).toBe(0.5);
});

test.each([
  ["ttft<=1s", "needs a statistic"],
  ["ttft.p99<=1", "needs a unit"],
  ["ttft.p0<=1s", "the quantile p0"],
  ["ttft.p99>=1s", "use <="],
  ["fluidity<=0.9", "wrong sign"],
  ["fluidity>=90", "share of 90"],
  ["errors.p99<=1%", "is one number"],
  ["speed>=4", "unknown metric"],
  ["rate>=4s", "no unit"],
  ["rate>=", "is not a promise"],
  ["ttft.p99<=1.2.3s", "not a number"],
])("the promise %s is refused", (text, why) => {
  expect(() => parseSlo(text)).toThrow(why);
});

test("warm-up counts nowhere, paced answers are told", () => {
  const even = Array.from({ length: 20 }, (_, i) => 50 + 20 * i);
  const run = runOf([
    record(-1, [9999], { warmup: true }),
    record(0, even),
    record(
      1,
      even.map((ms, i) => ms + (i % 3)),
    ),
  ]);
  const report = summarizeRun(run, { targets });
  expect(report.requests.warmup).toBe(1);
  expect(report.latencyMs.ttft.scheduled.max).toBe(50);
  expect(report.pacedShare).toBe(0.5);
});
