/** 100,000 requests on 8 replicas at 2 requests/s each with all metrics, and time per request from 1k to 1M requests. */
import { benchConfig, prepare, randomRequests } from "./fleet.ts";
import { cpuMs, median, report } from "./harness.ts";

const geometry = { blocks: 40_000, blockTokens: 16 };
const config = benchConfig("sarathi-serve", "paged", 8);
prepare(config, randomRequests(2_000, 16, 1), { metrics: true, ...geometry }).cpu();

const run = prepare(config, randomRequests(100_000, 16, 2), { metrics: true, ...geometry });
const seconds = cpuMs(run.cpu) / 1e3;
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
    const one = prepare(config, randomRequests(count, 16, 3 + i), { metrics: true, ...geometry });
    return (cpuMs(one.cpu) * 1e3) / count;
  });
  report(`CPU per request of ${count}`, median(values), "us");
}
