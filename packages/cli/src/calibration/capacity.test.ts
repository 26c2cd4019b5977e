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
import { roughProfile } from "./rough-profile.conformance.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-capacity-"));
  makeModel({ preset: "tiny", out: join(folder, "tiny.gguf") });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

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
      ...{ seconds: 0.2, leastRequests: 40, rounds: 1, moreRounds: 1, seed: 5 },
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
    // One rate encloses nothing: another is tried.
    expect(probes).toHaveLength(2);
    if (measuredQps.bound === null) {
      const rates = probes.map(({ rateQps }) => rateQps);
      expect(measuredQps.qps).toBeGreaterThanOrEqual(Math.min(...rates));
      expect(measuredQps.qps).toBeLessThanOrEqual(Math.max(...rates));
    }
    for (const { pressure, predicted } of probes) {
      expect(pressure).toBeGreaterThan(0);
      expect(predicted).toBeGreaterThan(0);
    }
  }
}, 60_000);
