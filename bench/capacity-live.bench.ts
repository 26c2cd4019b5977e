/** The capacity search from one request per second against the mock endpoint, whose capacity is 40. Takes 1.5 minutes. */
import { parseSlo, searchLiveCapacity } from "@millrace/bench";
import { startMockProcess } from "@millrace/bench/mock";
import { report } from "./harness.ts";

const CAPACITY = 40;

await using mock = await startMockProcess({ capacityQps: CAPACITY, stepMs: 5 });
const began = performance.now();
const live = await searchLiveCapacity({
  endpoint: { url: mock.url, api: "chat", model: "mock" },
  load: {
    what: { lengths: { type: "fixed", prompt: 20, output: 4 } },
    process: "constant",
    minSeconds: 6,
    maxSeconds: 6,
  },
  goal: {
    slo: parseSlo("ttft.p90<=150ms"),
    targets: { ttft: { type: "constant", us: 150_000 }, tbtUs: 50_000 },
    maxErrors: 0.01,
  },
  search: { startQps: 1 },
  seed: 1,
});
report("mock of capacity 40 from 1: probes", live.capacity.probes, "", 12);
report("mock of capacity 40 from 1: invalid runs", live.capacity.invalid, "");
report(
  "mock of capacity 40 from 1: error",
  100 * Math.abs(live.capacity.valueQps / CAPACITY - 1),
  "%",
  2.5,
);
report("mock of capacity 40 from 1: time", (performance.now() - began) / 1000, "s");
