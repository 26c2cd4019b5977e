import { renderReport } from "@millrace/report";
import { expect, test } from "vitest";
import { plainExperiment, runExperiment } from "../simulator/experiment.ts";
import type { Model } from "../simulator/from-trace.ts";
import { generateTrace, gpuCounts } from "../trace/generate.ts";
import { clusterReport } from "./report.ts";

const models = new Map<string, Model>([
  [
    "hungry <b>",
    {
      profile: { name: "hungry", cpus: [1, 3, 6], hostBytes: [20e9], rate: [[0.4], [1], [2]] },
      iterationSeconds: 1,
    },
  ],
]);

test("a report says who ran where and escapes names; equal runs give equal bytes", async () => {
  const trace = generateTrace({
    jobs: 40,
    seed: 2,
    arrivals: { kind: "poisson", jobsPerHour: 6 },
    classes: [{ name: "all", models: ["hungry <b>"], part: 1 }],
    gpus: gpuCounts.multi,
    iterationSeconds: () => 1,
  });
  const experiment = { ...plainExperiment, cluster: { ...plainExperiment.cluster, servers: 2 } };
  const render = async () => {
    const outcome = await runExperiment(trace, models, experiment, { timeline: true });
    const made = { command: "millrace cluster simulate", version: "0" };
    return renderReport(clusterReport({ ...outcome, experiment }, made));
  };
  const html = await render();
  expect(html).toContain("Who ran where");
  expect(html).not.toContain("hungry <b>");
  expect(html.match(/<title>job \d+ \(hungry &lt;b>\)/g)?.length).toBeGreaterThan(39);
  expect(await render()).toBe(html);
});
