import { Rng } from "@millrace/core";
import { HighsSolver } from "@millrace/core/solver";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { randomProfile } from "../allocator/allocator.conformance.ts";
import { opt } from "../allocator/opt/opt.ts";
import { allocatorNames, allocators } from "../allocator/registry.ts";
import { policyNames } from "../policy/policy.ts";
import { shareTerms } from "../profile/share.ts";
import { rateAt, type SpeedProfile } from "../profile/speed-profile.ts";
import { generateTrace, gpuCounts } from "../trace/generate.ts";
import { idealTerms, jobSpecs, uniformServers } from "./from-trace.ts";
import { type SimulationSpec, simulateLater } from "./simulate.ts";
import { specOf } from "./specs.conformance.ts";

describe("the guarantee", () => {
  const solver = new HighsSolver();
  afterAll(() => solver[Symbol.asyncDispose]());
  const terms = fc.record({
    seed: fc.nat(1e6),
    restartSeconds: fc.constantFrom(0, 45),
    refillSeconds: fc.constantFrom(0, 120),
    resize: fc.constantFrom("live" as const, "restart" as const),
    decisions: fc.constantFrom("rounds" as const, "events" as const),
    preemptible: fc.boolean(),
    spanFactor: fc.constantFrom(0.8, 1),
    tenants: fc.boolean(),
    datasets: fc.boolean(),
  });
  const pairs = allocatorNames.flatMap((name) =>
    policyNames.map((policy) => [name, policy] as const),
  );

  test.each(pairs)(
    "%s under %s: with warm caches and true profiles no job ever runs below its proportional speed",
    async (name, policy) => {
      const allocate = name === "opt" ? opt(solver) : allocators[name]("consolidate");
      await fc.assert(
        fc.asyncProperty(terms, async ({ seed, decisions, tenants, datasets, ...drawn }) => {
          const rng = new Rng(seed);
          const names = ["a", "b", "c", "d"];
          const curves = new Map(names.map((model) => [model, randomProfile(rng, model)]));
          const trace = generateTrace({
            jobs: 60,
            seed,
            arrivals: { kind: "poisson", jobsPerHour: 12 },
            classes: [{ name: "all", models: names, part: 1 }],
            gpus: gpuCounts.multi,
            iterationSeconds: () => 1,
          });
          const servers = uniformServers(2, 8, 24, 500e9);
          const share = shareTerms(servers);
          const models = new Map(
            [...curves].map(([model, profile]) => [model, { profile, iterationSeconds: 1 }]),
          );
          const { jobs } = jobSpecs(trace, models, servers, { ...idealTerms, ...drawn });
          const spec: SimulationSpec = {
            ...specOf([]),
            jobs: jobs.map((one, i) => ({
              ...one,
              ...(tenants && { tenant: i % 3 === 0 ? "small" : "large" }),
              ...(datasets && { dataset: one.model }),
            })),
            servers,
            policy,
            decisions,
            starvationSeconds: 20_000,
            tenants: tenants ? [{ name: "small", weight: 2, quotaGpus: 4, limitGpus: 12 }] : [],
            serverEvents: [
              { at: 30_000, server: 0, condition: "down" },
              { at: 40_000, server: 0, condition: "up" },
            ],
          };
          const modelOf = new Map(jobs.map((one) => [one.id, one.model]));
          let given = 0;
          await simulateLater(
            spec,
            async (state, order) => {
              const plan = await allocate(state, order);
              for (const { job: id, slices, speed } of plan.assignments) {
                given++;
                // What pooled gives is on no servers.
                if (!plan.executable) {
                  expect(speed).toBeGreaterThanOrEqual(1 - 1e-9);
                  continue;
                }
                // By the curve itself and what the job is given, not by what the plan says of it.
                const profile = curves.get(modelOf.get(id) ?? "") as SpeedProfile;
                const gpus = slices.reduce((sum, slice) => sum + slice.gpus.length, 0);
                const cpus = slices.reduce((sum, slice) => sum + slice.cpus, 0);
                const bytes = slices.reduce((sum, slice) => sum + slice.hostBytes, 0);
                const least = rateAt(profile, share.cpusPerGpu, share.hostBytesPerGpu);
                const rate = rateAt(profile, cpus / gpus, bytes / gpus);
                expect(rate, `job ${id}`).toBeGreaterThanOrEqual(least * (1 - 1e-9));
              }
              return plan;
            },
            { stop: (_, now) => now > 60_000 },
          );
          expect(given).toBeGreaterThan(60);
        }),
        { numRuns: 2 },
      );
    },
  );
});
