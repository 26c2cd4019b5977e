import { describe, expect, it, test } from "vitest";
import type { RequestRecord, RunData, Targets } from "../contracts.ts";
import { record } from "../metrics/record.conformance.ts";
import type { MockOptions } from "../mock/options.ts";
import { startMockProcess } from "../mock/process.ts";
import { fromFile, toFile } from "../raw/file-record.ts";
import { mergeRuns } from "../raw/run-reader.ts";
import { startRun } from "../run/run.ts";
import { attribute } from "./attribute.ts";
import { fitClock } from "./clock-fit.ts";

const targets: Targets = { ttft: { type: "constant", us: 300_000 }, tbtUs: 80_000 };
const STALLED = 15;
const REQUESTS = 4;

/** A run of a few users against a mock that stalls on purpose; `meanwhile` goes on beside it in this process. */
async function drive(
  options: MockOptions,
  {
    meanwhile = () => {},
    choices = 1,
    output = 24,
    users = REQUESTS,
  }: { meanwhile?: () => void; choices?: number; output?: number; users?: number } = {},
): Promise<RunData> {
  await using mock = await startMockProcess({ stepMs: 6, prefillTokensPerSecond: 1e6, ...options });
  const run = startRun({
    endpoint: { url: mock.url, api: "chat", model: "mock", serverTimes: true, choices },
    load: {
      arrivals: { type: "closed", concurrency: users },
      lengths: { type: "fixed", prompt: 40, output },
      requests: REQUESTS,
      warmup: { requests: 1 },
    },
    seed: 5,
    workers: 0,
  });
  void run.header.then(meanwhile);
  const records: RequestRecord[] = [];
  for await (const one of run) records.push(one);
  return { header: await run.header, records, end: await run.end };
}

describe("a stall of known cause is found to be that", () => {
  const causes = ["scheduling", "compute", "frontend", "network"] as const;
  it.each(causes)("%s", async (cause) => {
    const run = await drive({ stalls: [{ cause, token: STALLED, ms: 250 }] });
    const report = attribute(run, targets);
    if (report === null) throw new Error("nothing was attributed");
    expect([report.joined, report.unjoined, report.remarks]).toEqual([REQUESTS, 0, []]);
    const made = report.longest.filter(({ position }) => position === STALLED);
    expect(made.length).toBe(REQUESTS);
    for (const stall of made) {
      expect(stall.cause).toBe(cause);
      // Most of the 250 ms: on a busy machine the client has its share of the gap, too.
      expect(stall.partsMs[cause]).toBeGreaterThan(125);
      // The parts are the gap.
      const sum = Object.values(stall.partsMs).reduce((a, b) => a + b, 0);
      expect(Math.abs(sum - stall.gapMs)).toBeLessThan(0.01);
    }
    expect(report.attributedShare).toBeGreaterThan(0.99);
    expect(report.later.causes[cause]).toBeGreaterThanOrEqual(REQUESTS);
  });

  it("scheduling and compute of a first token", async () => {
    for (const cause of ["scheduling", "compute"] as const) {
      const run = await drive(
        { stalls: [{ cause, token: 0, ms: 500 }] },
        // Who shares no step with the others waits for theirs, which is scheduling.
        { users: 1, output: 4 },
      );
      const report = attribute(run, targets);
      expect(report?.first.causes[cause]).toBe(REQUESTS);
    }
  });

  it("client", async () => {
    const run = await drive(
      {},
      {
        output: 120,
        meanwhile: () =>
          setTimeout(() => {
            const until = performance.now() + 350;
            while (performance.now() < until);
          }, 450),
      },
    );
    const report = attribute(run, targets);
    const longest = report?.longest.filter(({ gapMs }) => gapMs > 300) ?? [];
    expect(longest.length).toBeGreaterThan(0);
    for (const { cause, partsMs } of longest) {
      expect(cause).toBe("client");
      expect(partsMs.client).toBeGreaterThan(250);
    }
  });

  it("on a clock that is an hour ahead and runs fast, over two choices", async () => {
    const run = await drive(
      {
        clockOffsetMs: 3.6e6,
        clockDriftPpm: 90,
        stalls: [{ cause: "scheduling", token: STALLED, ms: 250 }],
      },
      { choices: 2 },
    );
    const report = attribute(run, targets);
    const made = report?.longest.filter(({ position }) => position === STALLED) ?? [];
    expect(made.length).toBe(2 * REQUESTS);
    for (const stall of made) expect(stall.cause).toBe("scheduling");
    const [clock] = report?.clocks ?? [];
    expect(clock?.driftRangePpm[0]).toBeLessThan(90);
    expect(clock?.driftRangePpm[1]).toBeGreaterThan(90);
    expect(clock?.uncertaintyUs).toBeLessThan(20_000);
  });
});

test("times survive the raw file, and answers without times are counted as such", async () => {
  const run = await drive({ stalls: [{ cause: "compute", token: STALLED, ms: 250 }] });
  const kept = run.records.map((one) =>
    fromFile(JSON.parse(JSON.stringify(toFile(one))) as ReturnType<typeof toFile>),
  );
  const again = attribute({ ...run, records: kept }, targets);
  expect(again?.later.causes).toEqual(attribute(run, targets)?.later.causes);
  const some = run.records.map((one, i) => (i % 2 === 0 ? one : { ...one, server: null }));
  const report = attribute({ ...run, records: some }, targets);
  expect(report?.unjoined).toBeGreaterThan(0);
  expect(report?.attributedShare).toBeLessThan(1);
  const none = run.records.map((one) => ({ ...one, server: null }));
  expect(attribute({ ...run, records: none }, targets)).toBeNull();
});

test("runs of two hosts whose clocks have nothing in common are attributed as one", async () => {
  const run = await drive({ stalls: [{ cause: "scheduling", token: STALLED, ms: 250 }] });
  // The same run as a host would tell it that was booted at another time and started its run 30 s later.
  const bootedUs = 5e9;
  const laterUs = 30e6;
  const { startMonotonicNs } = run.header;
  const other: RunData = {
    ...run,
    header: {
      ...run.header,
      host: "other",
      startMonotonicNs: String(BigInt(startMonotonicNs) + BigInt((bootedUs + laterUs) * 1000)),
    },
    records: run.records.map((one) => ({
      ...one,
      server: one.server && { ...one.server, arrivedUs: one.server.arrivedUs + laterUs },
    })),
  };
  const merged = attribute(mergeRuns([run, other]), targets);
  const alone = attribute(run, targets);
  if (merged === null || alone === null) throw new Error("nothing was attributed");
  expect([merged.joined, merged.unjoined, merged.remarks]).toEqual([2 * REQUESTS, 0, []]);
  expect(merged.later.stalls).toBe(2 * alone.later.stalls);
  expect(merged.later.causes.scheduling).toBe(2 * alone.later.causes.scheduling);
  const [first, second] = merged.clocks;
  expect(first?.offsetUs).toBeCloseTo(alone.clocks[0]?.offsetUs ?? Number.NaN, -1);
  // Against the other's monotonic clock, which is ahead by what it was booted earlier.
  expect((first?.offsetUs ?? 0) - (second?.offsetUs ?? 0)).toBeCloseTo(bootedUs, -1);
  expect(new Set(merged.clocks.map(({ clock }) => clock)).size).toBe(2);
});

describe("two clocks", () => {
  /** Requests every 100 ms over ten minutes, on a server clock that differs, with delays of 0.2 … 30 ms. */
  const records = (offset: number, drift: number, jump = 0): RequestRecord[] =>
    Array.from({ length: 6000 }, (_, i) => {
      const delay = (k: number): number =>
        200 + (30_000 * ((i * 7919 + k * 104_729) % 997) ** 2) / 997 ** 2;
      const base = record(i, [10, 20, 30]);
      const startedUs = i * 100_000;
      const server = (us: number): number => offset + us * (1 + drift) + (i >= 3000 ? jump : 0);
      const arrivedUs = server(startedUs + delay(1));
      const columns = Float64Array.from([5000, 15_000, 25_000], (us) => us);
      const written = columns.map((us) => server(startedUs + delay(1) + us) - arrivedUs);
      return {
        ...base,
        startedUs,
        connectedUs: startedUs,
        chunks: {
          ...base.chunks,
          timeUs: columns.map((us, k) => startedUs + delay(1) + us + delay(k + 2)),
        },
        server: {
          ...{ clock: "a", arrivedUs, queuedUs: [0], admittedUs: [0] },
          ...{ step: Int32Array.of(1, 2, 3), plannedUs: columns, submittedUs: columns },
          ...{ completedUs: columns, busyUs: columns, writtenUs: written },
        },
      };
    });

  it.each([
    [0, 0],
    [5e12, 0],
    [-3e9, 40e-6],
    [7e9, -200e-6],
  ])("are %d µs and %d apart, found within the bounds that the fit gives", (offset, drift) => {
    const fit = fitClock("a", records(offset, drift));
    if (fit === null) throw new Error("no line fits");
    const middle = 300e6;
    expect(Math.abs(fit.offsetUs - (offset + drift * middle))).toBeLessThanOrEqual(
      fit.uncertaintyUs + Math.abs(drift) * 1000,
    );
    expect(fit.uncertaintyUs).toBeLessThan(1000);
    expect(drift * 1e6).toBeGreaterThanOrEqual(fit.driftRangePpm[0]);
    expect(drift * 1e6).toBeLessThanOrEqual(fit.driftRangePpm[1]);
    // Any time of the server, back on this clock.
    for (const at of [1e6, 300e6, 590e6])
      expect(Math.abs(fit.clientUs(offset + at * (1 + drift)) - at)).toBeLessThan(1500);
  });

  it("do not fit when one was set meanwhile", () => {
    expect(fitClock("a", records(0, 0, 5e6))).toBeNull();
  });
});
