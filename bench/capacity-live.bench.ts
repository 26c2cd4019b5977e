/**
 * The capacity search against the mock endpoint, whose capacity is 40: from one request per second, and from a prediction
 * that is 5 % off. Takes two minutes.
 */
import {
  type CapacityReport,
  type LiveCapacityOptions,
  parseSlo,
  searchLiveCapacity,
} from "@millrace/bench";
import { startMockProcess } from "@millrace/bench/mock";
import { report } from "./harness.ts";

const CAPACITY = 40;

await using mock = await startMockProcess({ capacityQps: CAPACITY, stepMs: 5 });
const search = (
  more: Pick<LiveCapacityOptions, "search" | "prediction">,
): Promise<CapacityReport> =>
  searchLiveCapacity({
    endpoint: { url: mock.url, api: "chat", model: "mock" },
    load: {
      what: { lengths: { type: "fixed", prompt: 20, output: 4 } },
      process: "constant",
      requests: 60,
      minSeconds: 6,
      maxSeconds: 12,
    },
    goal: {
      // Six seconds at 1 % above 40 make a queue of 60 ms: looser limits would let more than the capacity pass.
      slo: parseSlo("ttft.p90<=60ms"),
      targets: { ttft: { type: "constant", us: 60_000 }, tbtUs: 50_000 },
      maxErrors: 0.01,
    },
    seed: 1,
    ...more,
  });
const print = (name: string, { capacity }: CapacityReport, bar: number): void => {
  report(`${name}: probes`, capacity.probes, "", bar);
  report(`${name}: invalid runs`, capacity.invalid, "");
  report(`${name}: error`, 100 * Math.abs(capacity.valueQps / CAPACITY - 1), "%", 2.5);
};

const blind = await search({ search: { startQps: 1 } });
print("mock of capacity 40, from 1", blind, 12);
const seeded = await search({
  search: {},
  prediction: { source: "a plan", rateQps: 1.05 * CAPACITY, width: 0.08 },
});
print("mock of capacity 40, predicted 42", seeded, blind.capacity.probes / 2);
