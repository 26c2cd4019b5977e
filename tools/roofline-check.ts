/**
 * Whole-step predictions of the roofline beside figures known from public serving benchmarks: a plausibility check, not a
 * measurement. The figures are recalled; engines, versions and dates differ.
 *   npx tsx --conditions=millrace:source tools/roofline-check.ts
 */
import { type Seq, SeqTable, StepPlan } from "@millrace/serving";
import { findDevice } from "../packages/sim/src/catalogue/devices.ts";
import { findModel } from "../packages/sim/src/catalogue/models.ts";
import { RooflineCost } from "../packages/sim/src/predictor/roofline/cost.ts";

const table = new SeqTable(1);
const rows: [model: string, device: string, tp: number, what: string, known: string][] = [
  ["llama-3-8b", "a100", 1, "decode 1 x 512", "11-13 ms"],
  ["llama-3-8b", "h100", 1, "decode 1 x 512", "6.5-8 ms"],
  ["llama-3-8b", "h100", 1, "decode 64 x 1024", "10-13 ms"],
  ["llama-3-8b", "h100", 1, "prefill 4096", "110-180 ms"],
  ["llama-3-8b", "a100", 1, "prefill 4096", "300-400 ms"],
  ["llama-3-70b", "a100", 4, "decode 1 x 512", "27-33 ms"],
  ["llama-3-70b", "h100", 4, "decode 1 x 512", "16-20 ms"],
  ["llama-3-70b", "h100", 4, "decode 64 x 1024", "22-30 ms"],
  ["llama-3-70b", "a100", 4, "prefill 2048", "330-450 ms"],
  ["llama-3-70b", "h100", 4, "prefill 2048", "130-180 ms"],
  ["mixtral-8x7b", "h100", 2, "decode 32 x 512", "14 ms for the weights alone"],
  ["Qwen2-7B", "a30", 1, "decode 32 x 1024", "20-25 ms (Vidur tables 22)"],
];
console.log("\nmodel         device     TP  step               predicted   known (recalled)");
for (const [model, device, tp, what, known] of rows) {
  const cost = new RooflineCost({
    model: findModel(model),
    device: findDevice(device),
    tensorParallel: tp,
    pipelineParallel: 1,
    weightBytes: 2,
    kvBytes: 2,
    overheads: { host: true, lmHead: true, sampling: true },
  });
  const plan = new StepPlan();
  plan.reset(0);
  const [kind, count, , context] = what.split(" ");
  if (kind === "prefill") plan.addPrefill(0 as Seq, 0, Number(count), true);
  else {
    plan.rows = plan.tokens = plan.decodeRows = Number(count);
    plan.decodeContext = Number(count) * Number(context);
  }
  const ms = cost.stepSeconds(plan, table, 0) * 1e3;
  console.log(
    `${model.padEnd(13)} ${device.padEnd(10)} ${tp}   ${what.padEnd(18)} ${ms.toPrecision(3).padStart(6)} ms   ${known}`,
  );
}
