import { Rng } from "@millrace/core";
import { describe, expect, test } from "vitest";
import { parseSlo } from "../metrics/slo.ts";
import { blockRatio, normalTail, termDoubt } from "./doubt.ts";
import { HopelessWatch } from "./hopeless.ts";
import { recordsOf, reportOf, type Sketch } from "./records.conformance.ts";
import { type CapacityGoal, judgeProbe } from "./verdict.ts";

const goalOf = (slo: string): CapacityGoal => ({
  slo: parseSlo(slo),
  targets: { ttft: { type: "constant", us: 100_000 }, tbtUs: 50_000 },
  maxErrors: 0.01,
});
/** Requests over ten seconds; `late` of them are answered after 500 ms, the others after 20 ms. */
const sketches = (n: number, late: (i: number) => boolean): Sketch[] =>
  Array.from({ length: n }, (_, i) => ({ at: (10 * i) / n, ttft: late(i) ? 0.5 : 0.02 }));

function judge(slo: string, requests: readonly Sketch[], why?: string[], cutShort?: boolean) {
  const goal = goalOf(slo);
  const records = recordsOf(requests);
  return judgeProbe(reportOf(records, goal, why), records, goal, 10, cutShort);
}

describe("verdict of a probe", () => {
  test("met with little doubt far from the limit, with much near it", () => {
    const good = judge(
      "ttft.p90<=100ms",
      sketches(400, () => false),
    );
    expect(good).toMatchObject({ outcome: "met", reasons: [] });
    expect(good.doubt).toBeLessThan(0.001);
    expect(good.fluidity).toEqual({ index: 1, low: 1, high: 1 });
    const near = judge(
      "ttft.p90<=100ms",
      sketches(400, (i) => i % 11 === 0),
    );
    expect(near.outcome).toBe("met");
    expect(near.doubt).toBeGreaterThan(0.1);
    // Twenty requests say little of one in a hundred, unless all of them are far from the limit.
    const far = judge(
      "ttft.p99<=100ms",
      sketches(20, () => false),
    );
    expect(far).toMatchObject({ outcome: "met" });
    expect(far.doubt).toBeLessThan(0.05);
    const close = sketches(20, () => false).map((s) => ({ ...s, ttft: 0.095 }));
    const few = judge("ttft.p99<=100ms", close);
    expect(few).toMatchObject({ outcome: "met" });
    expect(few.doubt).toBeGreaterThan(0.3);
  });

  test("missed, with the terms that were", () => {
    const bad = judge(
      "ttft.p90<=100ms, tbt.p99<=50ms",
      sketches(400, (i) => (i * 7919) % 13 < 4),
    );
    expect(bad.outcome).toBe("missed");
    expect(bad.reasons).toEqual(["ttft.p90<=100ms: 500 ms"]);
    expect(bad.doubt).toBeLessThan(0.001);
    expect(bad.fluidity.high).toBeGreaterThan(bad.fluidity.index);
  });

  test("errors miss a rate although everybody who was answered was answered well", () => {
    const shed = sketches(400, () => false).map((s, i) => ({ ...s, failed: i % 20 === 0 }));
    expect(judge("ttft.p90<=100ms", shed).reasons).toEqual(["errors<=1%: 5%, mostly overloaded"]);
    expect(judge("ttft.p90<=100ms, errors<=10%", shed).outcome).toBe("met");
  });

  test("a queue that grows misses a rate although its limit is not reached yet", () => {
    // 40 requests per second come, 30 are answered.
    const growing = Array.from({ length: 400 }, (_, i) => ({ at: i / 40, ttft: i / 30 - i / 40 }));
    const judged = judge("ttft.p90<=10s", growing);
    expect(judged.outcome).toBe("missed");
    expect(judged.reasons.join()).toContain("The queue grew from 52 to 101 requests");
    const slow = growing.map((s) => ({ ...s, ttft: s.ttft + 5 }));
    expect(judge("ttft.p90<=60s", slow)).toMatchObject({ outcome: "met" });
    expect(judge("ttft.p90<=60s", slow).reasons.join()).toContain("could not be told");
  });

  test("an invalid run is no evidence, unless it was cut short by its own failing", () => {
    const late = sketches(100, () => true);
    const why = ["The client read its own canary late."];
    expect(judge("ttft.p90<=100ms", late, why)).toMatchObject({ outcome: "invalid", reasons: why });
    expect(judge("ttft.p90<=100ms", late, why, true).outcome).toBe("missed");
  });
});

describe("doubt", () => {
  test("is the share of runs whose verdict is wrong, near the limit", () => {
    // A tenth of the requests is late on average, as many as may be: verdicts are wrong every other time.
    const rng = new Rng(3);
    const [term] = goalOf("ttft.p90<=100ms").slo;
    const { targets, slo } = goalOf("ttft.p90<=100ms");
    let wrong = 0;
    let doubt = 0;
    const runs = 100;
    for (let k = 0; k < runs; k++) {
      const records = recordsOf(sketches(200, () => rng.next() < 0.12));
      const lateOnes = records.filter((r) => r.firstTokenUs - r.scheduledUs > 1e5).length;
      if (lateOnes <= 20) wrong++;
      doubt += termDoubt(term as NonNullable<typeof term>, records, targets, slo);
    }
    expect(Math.abs(wrong / runs - doubt / runs)).toBeLessThan(0.12);
  });

  test("sees that neighbours are alike", () => {
    const part = (bad: boolean) => ({ part: bad ? 1 : 0, of: 1 });
    const spread = blockRatio(Array.from({ length: 400 }, (_, i) => part(i % 10 === 0)));
    const lumped = blockRatio(Array.from({ length: 400 }, (_, i) => part(i >= 360)));
    expect(spread.value).toBe(lumped.value);
    expect(lumped.error).toBeGreaterThan(5 * spread.error);
    expect(blockRatio([part(true)]).error).toBe(Number.POSITIVE_INFINITY);
    expect(blockRatio([]).value).toBeNaN();
  });

  test("the tail of the normal distribution", () => {
    expect(normalTail(0)).toBeCloseTo(0.5, 6);
    expect(normalTail(1.6448536)).toBeCloseTo(0.05, 6);
    expect(normalTail(5)).toBeLessThan(1e-6);
  });
});

describe("a probe that cannot be met any more", () => {
  test("is noticed well beyond the allowed number, not before", () => {
    const watch = new HopelessWatch(goalOf("ttft.p90<=100ms"), 400);
    const late = recordsOf(sketches(400, () => true));
    const at = late.findIndex((record) => watch.hopeless(record));
    // 40 may be late; three times as many settle it.
    expect(at).toBeGreaterThanOrEqual(119);
    expect(at).toBeLessThanOrEqual(121);
    const good = new HopelessWatch(goalOf("ttft.p90<=100ms"), 400);
    const fine = recordsOf(sketches(400, (i) => i % 10 === 0));
    expect(fine.some((record) => good.hopeless(record))).toBe(false);
  });
});
