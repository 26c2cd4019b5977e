import { expect, test } from "vitest";
import { candidateKey, candidateName } from "./candidate.ts";
import { launchCommands } from "./launch.ts";
import { paged, scheduler, smallPlan } from "./small-plan.conformance.ts";
import { expandSpace } from "./space.ts";

test("every point once; a scheduler without chunks does not multiply by chunk sizes", () => {
  const orca = { ...scheduler, type: "orca" as const };
  const space = {
    ...smallPlan.space,
    schedulers: [
      ...smallPlan.space.schedulers,
      { template: orca, chunkSizes: [1, 2, 3], batchSizeCaps: [8, 8], kv: [paged] },
    ],
  };
  const { feasible, rejected } = expandSpace({ ...smallPlan, space });
  expect(rejected).toEqual([]);
  expect(feasible).toHaveLength(2 * (4 + 1));
  expect(new Set(feasible.map((f) => candidateKey(f.config))).size).toBe(10);
  expect(new Set(feasible.map((f) => candidateName(f.config))).size).toBe(10);
});

test("what cannot run is rejected with the term that is too large", () => {
  const space = {
    ...smallPlan.space,
    tensorParallel: [1, 3, 16],
    pipelineParallel: [1, 5],
    schedulers: [
      { template: scheduler, chunkSizes: [32], batchSizeCaps: [64], kv: [paged] },
      {
        template: { ...scheduler, type: "lightllm" as const },
        chunkSizes: [],
        batchSizeCaps: [8],
        kv: [paged],
      },
    ],
  };
  const { feasible, rejected } = expandSpace({ ...smallPlan, space });
  expect(feasible).toHaveLength(2);
  const reasons = rejected.map((r) => r.reason).join("\n");
  for (const words of [
    "below its batch size cap of 64",
    "lightllm has no pipeline",
    "more devices than a server",
    "32 attention heads are not divisible by tensorParallel 3",
  ])
    expect(reasons).toContain(words);
});

test("a fleet bounds replicas and fixes the device", () => {
  const space = { ...smallPlan.space, tensorParallel: [1, 4] };
  const fleet = { device: "h100", gpus: 2 };
  const { feasible, rejected } = expandSpace({ ...smallPlan, space, fleet });
  expect(new Set(feasible.map((f) => f.config.device))).toEqual(new Set(["h100"]));
  expect(rejected[0]?.reason).toBe("a replica of 4 devices is more than the fleet has (2)");
});

test("launch commands carry the knobs that were judged", () => {
  const { config } = expandSpace(smallPlan).feasible[0]!;
  const [vllm] = launchCommands(smallPlan.model, { ...config, kvBytes: 1 }, scheduler);
  expect(vllm).toEqual({
    target: "vllm",
    command:
      "vllm serve meta-llama/Meta-Llama-3-8B --tensor-parallel-size 1 --max-num-seqs 64 --enable-chunked-prefill --max-num-batched-tokens 512 --max-model-len 4096 --kv-cache-dtype fp8",
  });
  const orca = launchCommands(smallPlan.model, { ...config, scheduler: "orca" }, scheduler);
  expect(orca.map((c) => c.target)).toEqual(["millrace"]);
});
