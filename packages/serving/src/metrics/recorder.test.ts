import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ReplicaObserver } from "../join/contracts.ts";
import { type Seq, SeqTable } from "../join/seq-table.ts";
import { FAILED, GO_ON, HANDOFF, LENGTH, ROW_EMITS, STOP, StepPlan } from "../join/step-plan.ts";
import type { RequestTable } from "../workload/request-table.ts";
import { scoreFluidity } from "./fluidity.ts";
import { MetricsRecorder, type RecorderOptions } from "./recorder.ts";
import { COMPLETED, FAILED_REQUEST, REJECTED, UNFINISHED } from "./request-metrics.ts";

/** A table of requests [arrivedAt, prompt, output]. */
export function requestsOf(rows: readonly (readonly [number, number, number])[]): RequestTable {
  return {
    count: rows.length,
    arrivedAt: Float64Array.from(rows, (r) => r[0]),
    promptTokens: Int32Array.from(rows, (r) => r[1]),
    outputTokens: Int32Array.from(rows, (r) => r[2]),
    classIndex: new Uint8Array(rows.length),
    classes: [{ name: "default", priority: 0 }],
    ids: null,
  };
}

/** Drives a recorder with batches written by hand: each row names a request, its tokens and its end. */
class Script {
  readonly table = new SeqTable(4);
  private readonly seqs = new Map<number, Seq>();
  private readonly observer: ReplicaObserver;

  constructor(observer: ReplicaObserver) {
    this.observer = observer;
  }

  private seq(request: number): Seq {
    let seq = this.seqs.get(request);
    if (seq === undefined) {
      seq = this.table.add(request, 10, 10, 10, 0, 0);
      this.seqs.set(request, seq);
    }
    return seq;
  }

  /** `rows`: [request, emitted, finish]. */
  batch(
    startsAt: number,
    endsAt: number,
    rows: readonly (readonly [number, number, number])[],
    events: { admitted?: number[]; preempted?: number[] } = {},
  ): void {
    const plan = new StepPlan(2);
    plan.reset(startsAt);
    plan.reserve(rows.length);
    for (const [request] of rows) {
      const row = plan.rows++;
      plan.seq[row] = this.seq(request);
      plan.count[row] = 1;
      plan.flags[row] = ROW_EMITS;
      plan.tokens++;
      plan.decodeRows++;
    }
    for (const request of events.admitted ?? []) plan.admitted.push(this.seq(request));
    for (const request of events.preempted ?? []) plan.preempted.push(this.seq(request));
    this.observer.planned(plan, this.table, endsAt);
    this.observer.completed(
      plan,
      { emitted: Int32Array.from(rows, (r) => r[1]), finish: Uint8Array.from(rows, (r) => r[2]) },
      this.table,
      endsAt,
    );
  }
}

const options: RecorderOptions = { ttftTarget: 1, tbtTarget: 0.1 };

describe("MetricsRecorder", () => {
  it("follows a request from arrival to its last token", () => {
    const recorder = new MetricsRecorder(requestsOf([[1, 10, 3]]), options);
    const run = new Script(recorder);
    run.batch(1.25, 1.5, [[0, 0, GO_ON]], { admitted: [0] });
    run.batch(1.5, 1.75, [[0, 1, GO_ON]]);
    run.batch(1.75, 1.8, [[0, 1, GO_ON]]);
    run.batch(1.8, 1.9, [[0, 1, LENGTH]]);
    const r = recorder.requests;
    expect(r.scheduledAt[0]).toBe(1.25);
    expect(r.firstTokenAt[0]).toBe(1.75);
    expect(r.completedAt[0]).toBe(1.9);
    expect(r.status[0]).toBe(COMPLETED);
    expect(r.replica[0]).toBe(0);
    expect([r.met[0], r.missed[0], r.onTime[0], r.emitted[0]]).toEqual([3, 0, 3, 3]);
    expect(recorder.tbt.count).toBe(2);
    expect(recorder.tbt.sum).toBeCloseTo(0.15, 12);
    expect(recorder.totals()).toMatchObject({ batches: 4, rows: 4, maxRows: 1, lastEventAt: 1.9 });
  });

  it("keeps first times over a preemption and counts the stall as one gap", () => {
    const recorder = new MetricsRecorder(requestsOf([[0, 10, 9]]), options);
    const run = new Script(recorder);
    run.batch(0, 0.5, [[0, 1, GO_ON]], { admitted: [0] });
    run.batch(0.5, 0.6, [], { preempted: [0] });
    run.batch(2.5, 2.75, [[0, 1, GO_ON]], { admitted: [0] });
    const r = recorder.requests;
    expect(r.scheduledAt[0]).toBe(0);
    expect(r.firstTokenAt[0]).toBe(0.5);
    expect(r.restarts[0]).toBe(1);
    expect(r.preemption[0]).toBe(2);
    expect(recorder.tbt.max).toBe(2.25);
    expect(r.status[0]).toBe(UNFINISHED);
    // Due at 1.1 s after half a second saved; 1.65 s late: 1 + 16 periods.
    expect([r.met[0], r.missed[0]]).toEqual([1, 17]);
  });

  it("books tokens that come together as one gap and zeros", () => {
    const recorder = new MetricsRecorder(requestsOf([[0, 10, 9]]), options);
    const run = new Script(recorder);
    run.batch(0, 0.5, [[0, 3, GO_ON]], { admitted: [0] });
    run.batch(0.5, 0.75, [[0, 2, STOP]]);
    expect(recorder.tbt.count).toBe(4);
    expect(recorder.tbt.sum).toBeCloseTo(0.25, 12);
    expect(recorder.requests.emitted[0]).toBe(5);
    expect(recorder.requests.met[0]).toBe(5);
  });

  it("knows rejected, failed and handed-off requests", () => {
    const recorder = new MetricsRecorder(
      requestsOf([
        [0, 1, 1],
        [0, 1, 5],
        [0, 1, 5],
      ]),
      options,
    );
    recorder.rejected(0);
    const run = new Script(recorder);
    run.batch(
      0,
      0.5,
      [
        [1, 0, FAILED],
        [2, 1, HANDOFF],
      ],
      { admitted: [1, 2] },
    );
    expect([...recorder.requests.status]).toEqual([REJECTED, FAILED_REQUEST, UNFINISHED]);
    expect(recorder.requests.completedAt[1]).toBeNaN();
    expect(recorder.requests.emitted[2]).toBe(1);
  });

  it("counts gaps above the TBT limit; a gap of the limit is within it", () => {
    const recorder = new MetricsRecorder(requestsOf([[0, 10, 9]]), { ...options, tbtLimit: 0.2 });
    const run = new Script(recorder);
    for (const at of [0.5, 0.7, 0.9, 1.1000015, 1.2]) run.batch(at, at, [[0, 1, GO_ON]]);
    expect(recorder.requests.slowGaps?.[0]).toBe(1);
  });

  it("takes a TTFT target that depends on the prompt", () => {
    const recorder = new MetricsRecorder(
      requestsOf([
        [0, 10, 1],
        [0, 100, 1],
      ]),
      { ttftTarget: (prompt) => prompt / 100, tbtTarget: 0.1 },
    );
    const run = new Script(recorder);
    run.batch(0, 0.5, [
      [0, 1, LENGTH],
      [1, 1, LENGTH],
    ]);
    expect([...recorder.requests.met]).toEqual([0, 1]);
    expect([...recorder.requests.missed]).toEqual([5, 0]);
  });

  it("serves several replicas, names them, and averages their KV share over time", () => {
    const recorder = new MetricsRecorder(
      requestsOf([
        [0, 1, 1],
        [0, 1, 1],
      ]),
      { ...options, flopsOf: (plan) => 10 * plan.tokens },
    );
    const kv = [
      { usedPages: 0, pages: 10 },
      { usedPages: 0, pages: 10 },
    ];
    const runs = kv.map((gauge, i) => new Script(recorder.forReplica(i, gauge)));
    kv[0].usedPages = 5;
    runs[0].batch(1, 2, [[0, 1, LENGTH]], { admitted: [0] });
    kv[0].usedPages = 0;
    kv[1].usedPages = 10;
    runs[1].batch(3, 4, [[1, 1, LENGTH]], { admitted: [1] });
    expect([...recorder.requests.replica]).toEqual([0, 1]);
    const totals = recorder.totals(4);
    expect(totals.flops).toBe(20);
    // Replica 0: half used from 1 s on (its gauge was not read at 0 s, and not again after 2 s).
    expect(totals.kvUsed).toBeCloseTo((0.5 * 3 + 1) / 8, 12);
  });

  it("agrees with scoreFluidity on every stream and pools every gap", () => {
    const step = fc.tuple(
      fc.integer({ min: 1, max: 300_000 }),
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const rows = [0, 0.1, 0.25, 0.3].map((at) => [at, 10, 100] as const);
        const recorder = new MetricsRecorder(requestsOf(rows), options);
        const run = new Script(recorder);
        const gaps: number[][] = [[], [], [], []];
        const last = [0, 100_000, 250_000, 300_000];
        let nowUs = 300_000;
        for (const [us, emitted] of steps) {
          const start = nowUs / 1e6;
          nowUs += us;
          run.batch(
            start,
            nowUs / 1e6,
            emitted.map((n, r) => [r, n, GO_ON]),
          );
          emitted.forEach((n, r) => {
            if (n === 0) return;
            gaps[r].push(nowUs - last[r], ...new Array<number>(n - 1).fill(0));
            last[r] = nowUs;
          });
        }
        const pooled = gaps.flatMap((g) => g.slice(1));
        gaps.forEach((g, r) => {
          const score = scoreFluidity(g, 1_000_000, 100_000);
          expect(recorder.requests.met[r]).toBe(score.met);
          expect(recorder.requests.missed[r]).toBe(score.missed);
        });
        expect(recorder.tbt.count).toBe(pooled.length);
        expect(recorder.tbt.sum).toBeCloseTo(pooled.reduce((a, b) => a + b, 0) / 1e6, 9);
      }),
    );
  });
});
