/**
 * 100,000 requests on 8 replicas at 2 requests/s each with all metrics, and time per request from 1k to 1M requests.
 * The deployment is the reference one (Qwen2-7B on A30) with the shipped predictor and conversation lengths.
 */
import { generateWorkload } from "@millrace/serving";
import { findDevice, findModel, RooflineCost, simulate } from "@millrace/sim";
import { benchConfig } from "./fleet.ts";
import { cpuMs, median, report } from "./harness.ts";

const geometry = { blocks: 11_008, blockTokens: 16 };
const config = {
  ...benchConfig("sarathi-serve", "paged", 8),
  model: findModel("Qwen/Qwen2-7B"),
  device: findDevice("a30"),
};
const costModel = new RooflineCost(config);
const conversation = (requests: number, seed: number) =>
  generateWorkload(
    {
      arrivals: { type: "poisson", qps: 16 },
      lengths: { type: "shape", name: "azure-conv-2023" },
      requests,
      maxTokens: 4096,
    },
    seed,
  );
simulate(config, conversation(2_000, 1), { costModel, geometry });

const requests = conversation(100_000, 2);
const seconds = cpuMs(() => simulate(config, requests, { costModel, geometry })) / 1e3;
report("100,000 requests, 8 replicas, all metrics: CPU", seconds, "s", 2.5);
report(
  "100,000 requests, 8 replicas, all metrics: peak RSS",
  process.resourceUsage().maxRSS / 1024,
  "MB",
  250,
);
report("requests simulated per CPU second", 100_000 / seconds, "1/s");

for (const count of [1_000, 10_000, 100_000, 1_000_000]) {
  const rounds = count >= 100_000 ? 1 : 5;
  const values = Array.from({ length: rounds }, (_, i) => {
    const table = conversation(count, 3 + i);
    return (cpuMs(() => simulate(config, table, { costModel, geometry })) * 1e3) / count;
  });
  report(`CPU per request of ${count}`, median(values), "us");
}
