/**
 * Capacity under an SLO of sarathi-serve, vllm-v0 and orca: predicted by the twin, and found on the real engine by the search
 * of `bench capacity` that does not know the prediction's answer but starts from it. Takes about six minutes.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseSlo, searchLiveCapacity } from "@millrace/bench";
import type { LengthSpec, SchedulerName } from "@millrace/serving";
import { type TwinSlo, twinCapacity } from "@millrace/sim/twin";
import { serveFlags } from "../packages/cli/src/calibration/candidates.ts";
import { startServer } from "../packages/cli/src/calibration/server.ts";
import { wordsOf } from "../packages/cli/src/calibration/stage.ts";
import { userWorkload, withOverhead } from "../packages/cli/src/calibration/workloads.ts";
import { openTokenizer } from "../packages/cli/src/commands/bench/tokenizer.ts";
import { calibrated, usualKnobs } from "./calibrated.ts";
import { report } from "./harness.ts";

const lengths: LengthSpec = {
  type: "range",
  prompt: { min: 16, max: 256 },
  output: { min: 4, max: 16 },
};
/** A pause of more than a chunk of 128 and its decodes is a stall. */
const promises: readonly TwinSlo[] = [
  { metric: "ttft", quantile: 0.9, limitSeconds: 1 },
  { metric: "tbt", quantile: 0.99, limitSeconds: 0.11 },
];
const slo = parseSlo("ttft.p90<=1s,tbt.p99<=110ms");
const wanted = process.argv.slice(2);

using calibration = await calibrated();
const { context, options, learnt, cost, folder } = calibration;
const { tokenizer, close } = await openTokenizer(learnt.config.engine.modelPath);
const schedulers: readonly SchedulerName[] = ["sarathi-serve", "vllm-v0", "orca"];
for (const scheduler of schedulers) {
  if (wanted.length > 0 && !wanted.includes(scheduler)) continue;
  const knobs = usualKnobs(scheduler);
  const settings = calibration.settings(knobs);
  const requests = withOverhead(
    userWorkload(lengths, 1000, 1, 77, settings.maxRequestTokens - calibration.addedTokens),
    calibration.addedTokens,
  );
  const predicted = twinCapacity(settings, requests, cost, promises);
  report(`${scheduler}: predicted`, predicted.qps, "requests/s");
  mkdirSync(join(folder, "runs"), { recursive: true });
  const words = [...wordsOf(serveFlags(knobs, options.engine)), "--port", "0"];
  const server = await startServer([...words, "--set", "logs.requests=false"], context.signal);
  try {
    const found = await searchLiveCapacity({
      endpoint: {
        url: server.url,
        api: "completions",
        model: learnt.config.card.name,
        extraBody: { return_token_ids: true },
      },
      load: { what: { lengths }, requests: 120, minSeconds: 12, maxSeconds: 20, drainSeconds: 10 },
      goal: {
        slo,
        targets: { ttft: { type: "constant", us: 1_000_000 }, tbtUs: 110_000 },
        maxErrors: 0.01,
      },
      search: { maxProbes: 6, tolerance: 0.05 },
      prediction: { source: "the twin", rateQps: Math.max(0.2, predicted.qps), width: 0.2 },
      seed: 5,
      tokenizer,
    });
    report(`${scheduler}: measured`, found.capacity.valueQps, "requests/s");
    report(`${scheduler}: error`, 100 * (predicted.qps / found.capacity.valueQps - 1), "%", 5);
    report(`${scheduler}: probes`, found.capacity.probes, "");
  } finally {
    await server.stop();
  }
}
close();
