/**
 * The shipped step cost: a roofline whose coefficients were fitted to profiled operators, for any model and device. It
 * has what Vidur leaves out: embedding, LM head, sampling, host work per step, contexts summed instead of averaged.
 */
import type { SeqTable, StepPlan } from "@millrace/serving";
import { kvBytesPerTokenLayer } from "../../memory/split.ts";
import type { OperatorTime, PredictedCost } from "../cost-model.ts";
import { type Overheads, StepBorders } from "./borders.ts";
import type { LayerDeployment } from "./layer.ts";
import { TABLE_TOKENS, type TokenTable, tokenTable } from "./token-table.ts";

/** A deployment and the terms to charge. */
export interface RooflineDeployment extends LayerDeployment {
  readonly pipelineParallel: number;
  readonly overheads: Overheads;
}

/**
 * Step cost by roofline. Building takes about a millisecond for a new (model, device, TP, precision) and microseconds
 * afterwards; `stepSeconds` is O(prefill rows) and allocates nothing.
 */
export class RooflineCost implements PredictedCost {
  extrapolatedSteps = 0;
  readonly unfitted: readonly string[];
  private readonly deployment: RooflineDeployment;
  private readonly table: TokenTable;
  private readonly layers: number;
  private readonly last: number;
  /** Stage borders lie within a server. */
  private readonly within: boolean;
  private readonly window: number;
  private readonly decodeOverhead: number;
  private readonly decodePerToken: number;
  private readonly prefillOverhead: number;
  /** Seconds per (query token x key token). */
  private readonly prefillPerPair: number;
  private readonly prefillPerKey: number;
  /** Pairs of a chunk against itself: 1 or, where the kernel skips masked blocks, a half. */
  private readonly ownPairs: number;
  private readonly borders: StepBorders;

  constructor(deployment: RooflineDeployment) {
    const { model, device, tensorParallel, pipelineParallel, kvBytes } = deployment;
    this.deployment = deployment;
    this.table = tokenTable(deployment);
    const { layer } = this.table;
    const { attention } = layer.applied.base;
    this.layers = model.layers / pipelineParallel;
    this.last = pipelineParallel - 1;
    this.within = tensorParallel * pipelineParallel <= device.devicesPerServer;
    this.window = model.slidingWindow ?? Number.POSITIVE_INFINITY;
    const heads = model.heads / tensorParallel;
    const width =
      model.mla === undefined
        ? 2 * model.headDim
        : model.headDim + model.mla.ropeDim + model.mla.valueDim;
    const flops = device.tflops * 1e12 * attention.prefill.efficiency;
    const kv = kvBytesPerTokenLayer(model, tensorParallel, kvBytes);
    this.prefillOverhead = attention.prefill.overhead;
    this.prefillPerPair = (2 * heads * width) / flops;
    this.prefillPerKey = kv / (device.memoryBandwidth * attention.prefill.kvEfficiency);
    this.ownPairs = attention.prefill.skipsMasked ? 0.5 : 1;
    this.decodeOverhead = attention.decode.overhead;
    // Decoding against latent KV multiplies whole latent rows: many operations per byte.
    const decodeWidth = model.mla === undefined ? width : 2 * model.mla.kvRank + model.mla.ropeDim;
    this.decodePerToken = Math.max(
      kv / (device.memoryBandwidth * attention.decode.efficiency),
      (2 * heads * decodeWidth) / flops,
    );
    this.borders = new StepBorders(layer, deployment);
    this.unfitted = [...layer.unfitted, ...this.borders.unfitted];
  }

  stepSeconds(plan: StepPlan, _table: SeqTable, stage: number): number {
    const tokens = plan.tokens;
    let perLayer: number;
    if (tokens <= TABLE_TOKENS) perLayer = this.table.seconds[tokens] as number;
    else {
      perLayer =
        (this.table.seconds[TABLE_TOKENS] as number) + (tokens - TABLE_TOKENS) * this.table.slope;
      if (stage === 0) this.extrapolatedSteps++;
    }
    let seconds = (perLayer + this.decodeSeconds(plan) + this.prefillSeconds(plan)) * this.layers;
    if (stage === 0) seconds += this.borders.firstSeconds(plan);
    if (stage === this.last) seconds += this.borders.lastSeconds(plan);
    else seconds += this.table.layer.sendRecvSeconds(tokens, this.within);
    return seconds;
  }

  breakdown(plan: StepPlan, _table: SeqTable, stage: number): readonly OperatorTime[] {
    const { layer } = this.table;
    const times: OperatorTime[] = [];
    const push = (operator: string, seconds: number): void => {
      if (seconds > 0) times.push({ operator, seconds });
    };
    for (const { operator, seconds } of layer.operators(plan.tokens))
      push(operator, seconds * this.layers);
    push("attn_decode", this.decodeSeconds(plan) * this.layers);
    push("attn_prefill", this.prefillSeconds(plan) * this.layers);
    times.push(...this.borders.operators(plan, stage));
    if (stage < this.last) push("send_recv", layer.sendRecvSeconds(plan.tokens, this.within));
    return times;
  }

  describe(): string {
    const { base } = this.table.layer.applied;
    const { device, tensorParallel, pipelineParallel } = this.deployment;
    const origin =
      base.device === device.name
        ? base.provenance
        : `scaled from ${base.device}: ${base.provenance}`;
    return `roofline for ${device.name}, TP ${tensorParallel}, PP ${pipelineParallel} (${origin})`;
  }

  private decodeSeconds(plan: StepPlan): number {
    const rows = plan.decodeRows;
    if (rows === 0) return 0;
    const seen = Math.min(plan.decodeContext, rows * this.window);
    return this.decodeOverhead + seen * this.decodePerToken;
  }

  private prefillSeconds(plan: StepPlan): number {
    const { data, n } = plan.prefill;
    if (n === 0) return 0;
    let seconds = this.prefillOverhead;
    for (let i = 0; i < n; i++) {
      const row = data[i] as number;
      const chunk = plan.count[row] as number;
      const start = plan.start[row] as number;
      const before = start < this.window ? start : this.window;
      const own = chunk < this.window ? chunk : this.window;
      seconds +=
        chunk * (before + own * this.ownPairs) * this.prefillPerPair +
        (before + chunk) * this.prefillPerKey;
    }
    return seconds;
  }
}
