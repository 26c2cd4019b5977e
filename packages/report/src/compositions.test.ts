import { describe, expect, test } from "vitest";
import type { Block, ReportDocument, TableBlock } from "./document.ts";
import { renderReport } from "./html/render.ts";
import { planReport } from "./plan/report.ts";
import { reproduceReport } from "./reproduce/report.ts";
import { planSample, reproduceSample, simulationSample } from "./samples.conformance.ts";
import { simulationReport } from "./simulation/report.ts";

function blocks(report: ReportDocument, id: string): readonly Block[] {
  return report.sections.find((s) => s.id === id)?.blocks ?? [];
}

function tables(report: ReportDocument, id: string): TableBlock[] {
  return blocks(report, id).filter((b) => b.kind === "table");
}

describe("planReport", () => {
  test("answers in one sentence", () => {
    const result = planSample();
    const { verdict } = planReport({ result });
    expect(verdict.headline).toBe(
      "Run 11 replicas of 2 GPUs on A100-80GB · TP2 for $35,493 a month, 35.3% less than today.",
    );
    expect(verdict.tone).toBe("good");
    expect(verdict.figures.map((f) => f.label)).toContain("TTFT p90");
  });

  test("ranks those that meet the SLO first and by cost, and marks the winner once", () => {
    const [table] = tables(planReport({ result: planSample() }), "candidates");
    expect(table.rows.length).toBe(20);
    expect(table.rows.filter((r) => r.emphasis).length).toBe(1);
    expect(table.rows[0].emphasis).toBe(true);
    const costs = table.rows.map((r) => r.cells[2] as number);
    expect(costs).toEqual([...costs].sort((a, b) => a - b));
  });

  test("says so when nothing fits, and names the nearest miss", () => {
    const sample = planSample();
    const report = planReport({
      result: {
        ...sample,
        best: null,
        current: null,
        candidates: [],
        pareto: [],
        sensitivity: [],
        launch: [],
      },
    });
    expect(report.verdict.tone).toBe("bad");
    expect(report.verdict.detail).toContain("Nearest miss: A40-48GB · TP8");
    expect(report.sections.map((s) => s.id)).toEqual(["confidence", "rejected", "method"]);
    renderReport(report);
  });

  test("a predictor that knows its error makes the capacity a range, and a large error is a factor", () => {
    const sample = planSample();
    const page = (errorPercent: number): string => {
      const capacityQps = { low: 1.25, high: 20 };
      const robust = { errorPercent, sameWinner: true, rivals: [], capacityQps };
      const report = planReport({ result: { ...sample, robust } });
      const key = report.verdict.figures.find(({ label }) => label === "Capacity of a replica");
      return JSON.stringify([report.verdict.detail, key, blocks(report, "confidence")]);
    };
    expect(page(300)).toContain("The choice would be the same if step times were 4 times as long");
    expect(page(300)).toContain("1.25 – 20 if step times are 4 times as long, or as short");
    expect(page(300)).toContain("A replica then carries 1.25 – 20 requests per second");
    expect(page(300)).not.toContain("300%");
    expect(page(12)).toContain("1.25 – 20 if step times are off by 12% either way");
  });

  test("stands when everything is empty", () => {
    const sample = planSample();
    const report = planReport({
      result: {
        ...sample,
        best: null,
        current: null,
        nearestMiss: null,
        candidates: [],
        pareto: [],
        rejected: [],
        notModelled: [],
        sensitivity: [],
        launch: [],
      },
    });
    expect(report.sections.map((s) => s.id)).toEqual(["method"]);
    renderReport(report);
  });

  test("counts what was ruled out by reason, whatever the figures in it", () => {
    const [byReason] = tables(planReport({ result: planSample() }), "rejected");
    const counts = byReason.rows.map((r) => r.cells[1] as number);
    expect(counts.reduce((a, b) => a + b)).toBe(planSample().rejected.length);
    expect(byReason.rows.length).toBeLessThan(6);
  });
});

describe("simulationReport", () => {
  test("names the term that was missed", () => {
    const { verdict, sections } = simulationReport({ run: simulationSample() });
    expect(verdict.tone).toBe("bad");
    expect(verdict.headline).toBe("The SLO is missed: TBT p99 is 198 ms (limit 150 ms).");
    expect(sections.map((s) => s.id)).toEqual([
      "slo",
      "latency",
      "batches",
      "pipeline",
      "classes",
      "care",
      "details",
    ]);
  });

  test("leaves out what the run does not have", () => {
    const run = simulationSample();
    const report = simulationReport({
      run: {
        ...run,
        timeline: null,
        summary: {
          ...run.summary,
          slo: [],
          classes: [],
          goodput: null,
          flags: { extrapolatedSteps: 0, unfitted: [] },
        },
      },
    });
    expect(report.verdict.tone).toBe("neutral");
    expect(report.sections.map((s) => s.id)).toEqual(["latency", "pipeline", "details"]);
  });

  test("stands when not one request was completed", () => {
    const run = simulationSample(1, 1, 1);
    const never = Float64Array.of(Number.NaN);
    const none = {
      mean: Number.NaN,
      p50: Number.NaN,
      p90: Number.NaN,
      p99: Number.NaN,
      max: Number.NaN,
    };
    const html = renderReport(
      simulationReport({
        run: {
          ...run,
          perRequest: { scheduledAt: never, firstTokenAt: never, completedAt: never },
          tbtQuantiles: new Float64Array(0),
          summary: {
            ...run.summary,
            completed: 0,
            rejected: 1,
            ttftMs: none,
            e2eMs: none,
            schedulingDelayMs: none,
            slo: [],
          },
        },
      }),
    );
    expect(html).toContain("no samples");
    expect(html.replace(/<script[\s\S]*/, "")).not.toContain("NaN");
  });

  test("has a row in the SLO table for each term, with tick or cross", () => {
    const [table] = tables(simulationReport({ run: simulationSample() }), "slo");
    expect(table.rows.map((r) => r.cells.slice(0, 2))).toEqual([
      ["TTFT p90", true],
      ["TBT p99", false],
    ]);
  });

  test("a large run stays a small page", () => {
    const html = renderReport(simulationReport({ run: simulationSample(200_000, 400_000, 4) }));
    expect(html.length).toBeLessThan(400_000);
  });
});

describe("reproduceReport", () => {
  test("what was predicted and measured stands side by side, and not among the claims", () => {
    const { result, ...rest } = reproduceSample();
    const row = (kind: "simulated" | "measured", ours: number) => ({
      ...{ claim: `capacity, ${kind}`, theirs: null, ours, low: ours - 1, high: ours + 1, kind },
      ...{ n: 101, seed: 42, unit: "qps", beside: "capacity: orca" },
    });
    const alone = { ...row("simulated", 3), claim: "alone", beside: "nothing measured" };
    const rows = [...result.rows, row("simulated", 11), row("measured", 10), alone];
    const report = reproduceReport({ result: { ...result, rows }, ...rest });
    const [claims] = tables(report, "claims");
    expect(claims.rows).toHaveLength(result.rows.length + 1);
    const [pairs] = tables(report, "predicted");
    expect(pairs.rows).toHaveLength(1);
    expect(pairs.rows[0].cells.slice(0, 5)).toEqual([
      { text: "capacity: orca", note: "qps" },
      { value: 11, low: 10, high: 12 },
      { value: 10, low: 9, high: 11 },
      1.1,
      101,
    ]);
  });

  test("counts a figure as reproduced within ten percent or inside our interval", () => {
    const { verdict } = reproduceReport(reproduceSample());
    expect(verdict.headline).toBe("2 of 4 published figures are reproduced.");
    const wide = reproduceSample().result;
    const rows = wide.rows.map((r) => ({ ...r, low: 0, high: 10 }));
    expect(reproduceReport({ result: { ...wide, rows } }).verdict.tone).toBe("good");
  });

  test("puts the paper's curves and ours on the same axes", () => {
    const charts = blocks(reproduceReport(reproduceSample()), "figures").filter(
      (b) => b.kind === "charts",
    );
    const pair = charts[1].charts.map((c) =>
      [...c.svg.matchAll(/tick label[^>]*>.*?<\/g>/g)].map((m) => m[0]),
    );
    expect(pair[0].length).toBeGreaterThan(0);
    expect(pair[0]).toEqual(pair[1]);
  });
});
