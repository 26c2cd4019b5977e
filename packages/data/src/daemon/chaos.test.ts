import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sharedFolder } from "@millrace/system";
import { afterAll, beforeAll, expect, test } from "vitest";
import { storesInstalled } from "../peers/store-servers.conformance.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { chaos } from "./chaos.conformance.ts";

// One seed in the suite. MILLRACE_CHAOS_SEEDS=24 runs the first 24, MILLRACE_CHAOS_SEEDS=3,17 those; each says what it did.
const wanted = process.env["MILLRACE_CHAOS_SEEDS"] ?? "1";
const seeds = wanted.includes(",")
  ? wanted.split(",").map(Number)
  : Array.from({ length: Number(wanted) }, (_, i) => i + 1);
const dataset = mkdtempSync(join(tmpdir(), "millrace-chaos-"));
// Where CI runs, a missing numpy is a failure and not a reason to leave the job in Python out.
const numpy =
  process.env["CI"] !== undefined ||
  spawnSync("/usr/bin/python3", ["-c", "import numpy"], { stdio: "ignore" }).status === 0;
beforeAll(() => makeJpegSet(dataset, { count: 50, classes: 5, width: 48 }));
afterAll(() => rmSync(dataset, { recursive: true }));

test.each(seeds)(
  "whatever is ended, the others see every batch once, and nothing is left (seed %i)",
  { timeout: 90_000 },
  async (seed) => {
    const shared = mkdtempSync(join(sharedFolder(), "test-"));
    try {
      const redis = storesInstalled();
      const outcome = await chaos({ seed, dataset, shared, epochs: 8, events: 7, redis, numpy });
      if (seeds.length > 1)
        console.log(
          `seed ${seed}: ${outcome.ended.map(({ what, at }) => `${what} after ${at}`).join(", ")}; ${outcome.batches} batches; ${outcome.wrong.length === 0 ? "all held" : outcome.wrong.join("; ")}`,
        );
      expect(outcome.ended.length).toBe(7);
      expect(outcome.wrong).toEqual([]);
    } finally {
      rmSync(shared, { recursive: true });
    }
  },
);
