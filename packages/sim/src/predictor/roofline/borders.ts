/** What a step costs outside its layers: embedding, LM head, sampling, and the host's work between steps. */
import { ROW_EMITS, type StepPlan } from "@millrace/serving";
import type { SimulationConfig } from "../../types.ts";
import type { OperatorTime } from "../cost-model.ts";
import { bytesTime, type Layer, type LayerDeployment } from "./layer.ts";

/** Host work between two steps: 500 us per step is what BLIS calibrated on vLLM with A100 and H100; per row recalled. */
const HOST_SECONDS = 500e-6;
const HOST_SECONDS_PER_ROW = 5e-6;
/** Passes of the sampler over 32-bit logits (softmax, top-k/top-p, draw), and its kernels; recalled from vLLM traces. */
const SAMPLING_PASSES = 4;
const SAMPLING_KERNELS = 8;
/** Rows up to which the LM head and sampling are tabulated; more rows are scaled. */
const HEAD_ROWS = 1024;
/** The head stays at 16 bits when the layers are quantised. */
const HEAD_BYTES = 2;

export type Overheads = SimulationConfig["overheads"];

/** First and last stage's extra seconds; each term is charged when its overhead is on (`lmHead`: embedding too). */
export class StepBorders {
  readonly unfitted: readonly string[];
  private readonly layer: Layer;
  private readonly deployment: LayerDeployment & {
    readonly pipelineParallel: number;
    readonly overheads: Overheads;
  };
  /** LM head with final norm, and sampling, by rows that emit. */
  private readonly head: Float64Array;

  constructor(layer: Layer, deployment: StepBorders["deployment"]) {
    this.layer = layer;
    this.deployment = deployment;
    this.head = this.tabulate();
    const { host, sampling } = deployment.overheads;
    this.unfitted = [
      ...(host ? ["host: 500 us per step (BLIS) and 5 us per row (recalled)"] : []),
      ...(sampling ? ["sampling: passes over the logits and kernels recalled"] : []),
    ];
  }

  /** Seconds of embedding and host work. */
  firstSeconds(plan: StepPlan): number {
    const { overheads } = this.deployment;
    let seconds = 0;
    if (overheads.lmHead) seconds += this.embeddingSeconds(plan.tokens);
    if (overheads.host) seconds += HOST_SECONDS + HOST_SECONDS_PER_ROW * plan.rows;
    return seconds;
  }

  /** Seconds of LM head and sampling. */
  lastSeconds(plan: StepPlan): number {
    const rows = emittingRows(plan);
    if (rows <= HEAD_ROWS) return this.head[rows] as number;
    return ((this.head[HEAD_ROWS] as number) * rows) / HEAD_ROWS;
  }

  /** The same by operator. */
  operators(plan: StepPlan, stage: number): readonly OperatorTime[] {
    const { overheads, pipelineParallel } = this.deployment;
    const times: OperatorTime[] = [];
    if (stage === 0) {
      if (overheads.lmHead)
        times.push({ operator: "emb", seconds: this.embeddingSeconds(plan.tokens) });
      if (overheads.host)
        times.push({ operator: "host", seconds: HOST_SECONDS + HOST_SECONDS_PER_ROW * plan.rows });
    }
    const rows = emittingRows(plan);
    if (stage === pipelineParallel - 1 && rows > 0) {
      if (overheads.lmHead) times.push({ operator: "lm_head", seconds: this.headSeconds(rows) });
      if (overheads.sampling)
        times.push({ operator: "sampling", seconds: this.samplingSeconds(rows) });
    }
    return times;
  }

  private embeddingSeconds(tokens: number): number {
    return this.layer.byteSeconds("emb", 4 * tokens * this.deployment.model.hidden);
  }

  private headSeconds(rows: number): number {
    const { model, tensorParallel } = this.deployment;
    const { layer } = this;
    const slice = model.vocab / tensorParallel;
    const product = layer.product("lm_head", model.hidden, slice, HEAD_BYTES);
    let seconds =
      layer.productSeconds(product, rows) + layer.byteSeconds("norm", 4 * rows * model.hidden);
    // An all-gather of the slices moves half of what an all-reduce does.
    if (tensorParallel > 1)
      seconds += 0.5 * layer.allReduceSeconds((rows * model.vocab) / model.hidden);
    return seconds;
  }

  private samplingSeconds(rows: number): number {
    const { overhead, efficiency } = this.layer.applied.base.elementwise.add;
    return bytesTime(
      { overhead: SAMPLING_KERNELS * overhead, efficiency },
      this.layer.peaks.bandwidth,
      SAMPLING_PASSES * 4 * rows * this.deployment.model.vocab,
    );
  }

  /** Straight lines between knots. */
  private tabulate(): Float64Array {
    const { overheads } = this.deployment;
    const table = new Float64Array(HEAD_ROWS + 1);
    if (!overheads.lmHead && !overheads.sampling) return table;
    const at = (rows: number): number =>
      (overheads.lmHead ? this.headSeconds(rows) : 0) +
      (overheads.sampling ? this.samplingSeconds(rows) : 0);
    let from = 1;
    let value = at(1);
    table[1] = value;
    while (from < HEAD_ROWS) {
      const step = from < 8 ? 1 : from < 128 ? 8 : 128;
      const next = at(from + step);
      for (let i = 1; i <= step; i++) table[from + i] = value + ((next - value) * i) / step;
      from += step;
      value = next;
    }
    return table;
  }
}

/** Rows whose last token gets logits: all decodes, and the chunks that end a prompt. */
function emittingRows(plan: StepPlan): number {
  const { data, n } = plan.prefill;
  let rows = plan.decodeRows;
  for (let i = 0; i < n; i++)
    if (((plan.flags[data[i] as number] as number) & ROW_EMITS) !== 0) rows++;
  return rows;
}
