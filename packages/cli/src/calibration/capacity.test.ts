/** Capacity of two schedulers on real servers of a tiny model: structure and consistency; how near it comes is a bench. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Session } from "../session.ts";
import { compareCapacities } from "./capacity.ts";
import { calibrateOptionsOf } from "./options.ts";
import { learn } from "./pipeline.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-capacity-"));
  makeModel({ preset: "tiny", out: join(folder, "tiny.gguf") });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Steps of the tiny model, roughly: what is tested does not depend on how well they are known. */
const roughProfile = {
  ...{ schema: "millrace.profile/1", model: "tiny", machine: "any", threads: 1 },
  ...{ engine: "none", date: "2026-01-01", units: { time: "s", length: "token" } },
  points: [1, 2, 8, 32, 64].flatMap((tokens) => [
    { decodeRows: tokens, decodeContext: 20 * tokens, seconds: 3e-3 + 1e-4 * tokens },
    {
      ...{ prefillTokens: 2 * tokens, prefillRows: 1, prefillPairs: 2 * tokens * tokens },
      seconds: 3e-3 + 2e-4 * tokens,
    },
  ]),
  // What serving adds is known: nothing has to be learnt on a server of its own first.
  loop: {
    ...{ decode: Array(10).fill(1), prefill: Array(6).fill(1), step: 2e-4, freshDecode: 0 },
    ...{ prefillShare: 0, decodeRow: 0, prefillRow: 0, mapped: 0, steps: 500, jitter: null },
  },
  transport: { arrival: 2e-3, arrivalPerToken: 0, delivery: 1e-3, addedTokens: 1, requests: 100 },
};

test("schedulers are measured in turn, and predicted for the same requests", async () => {
  const engine = { threads: 1, context: 512, kvMemory: "64MiB" };
  const profile = join(folder, "profile.json");
  writeFileSync(profile, JSON.stringify(roughProfile));
  const options = calibrateOptionsOf({
    ...{ ...engine, model: join(folder, "tiny.gguf"), profile },
    ...{ learn: "0.5s", out: folder },
  });
  const context = { session: Session.silent(), options, signal: new AbortController().signal };
  const learnt = await learn(context);
  const knobs = (["sarathi-serve", "orca"] as const).map((scheduler) => ({
    ...{ scheduler, batchSizeCap: 8, pageBytes: null },
    chunkSize: scheduler === "orca" ? null : 64,
  }));
  const found = await compareCapacities(
    context,
    learnt,
    {
      knobs,
      lengths: { type: "range", prompt: { min: 8, max: 64 }, output: { min: 2, max: 12 } },
      slo: [{ metric: "ttft", quantile: 0.9, limitSeconds: 0.5 }],
      ...{ seconds: 0.5, leastRequests: 40, rounds: 2, seed: 5 },
    },
    folder,
  );
  expect(found.map(({ scheduler }) => scheduler)).toEqual(["sarathi-serve", "orca"]);
  for (const { predictedQps, asProfiledQps, measuredQps, requests, limit, probes } of found) {
    expect(requests).toBeGreaterThanOrEqual(40);
    expect(limit).not.toBe("");
    for (const rate of [predictedQps, asProfiledQps, measuredQps.qps])
      expect(rate).toBeGreaterThan(0);
    expect(probes[0]?.rateQps).toBe(asProfiledQps);
    // A third rate is tried only where two do not enclose the capacity.
    if (measuredQps.bound === null) {
      const rates = probes.map(({ rateQps }) => rateQps);
      expect(measuredQps.qps).toBeGreaterThanOrEqual(Math.min(...rates));
      expect(measuredQps.qps).toBeLessThanOrEqual(Math.max(...rates));
    } else expect(probes).toHaveLength(3);
    for (const { pressure, predicted } of probes) {
      expect(pressure).toBeGreaterThan(0);
      expect(predicted).toBeGreaterThan(0);
    }
  }
}, 60_000);
