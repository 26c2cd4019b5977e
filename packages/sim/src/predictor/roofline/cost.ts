/**
 * The shipped step cost: a roofline whose coefficients were fitted to profiled operators, for any model and device. It
 * has what Vidur leaves out: embedding, LM head, sampling, host work per step, contexts summed instead of averaged.
 */
import { ROW_EMITS, type SeqTable, type StepPlan } from "@millrace/serving";
import { kvBytesPerTokenLayer } from "../../memory/split.ts";
import type { OperatorTime, PredictedCost } from "../cost-model.ts";
import { bytesTime, type Layer, type LayerDeployment } from "./layer.ts";
import { TABLE_TOKENS, type TokenTable, tokenTable } from "./token-table.ts";

/** Host work between two steps: 500 us per step is what BLIS calibrated on vLLM with A100 and H100; per row recalled. */
const HOST_SECONDS = 500e-6;
const HOST_SECONDS_PER_ROW = 5e-6;
/** Passes of the sampler over 32-bit logits (softmax, top-k/top-p, draw), and its kernels; recalled from vLLM traces. */
const SAMPLING_PASSES = 4;
const SAMPLING_KERNELS = 8;
/** Rows up to which the LM head and sampling are tabulated; more rows are scaled. */
const HEAD_ROWS = 1024;

/** A deployment and the terms to charge. */
export interface RooflineDeployment extends LayerDeployment {
  readonly pipelineParallel: number;
  readonly overheads: {
    readonly host: boolean;
    readonly lmHead: boolean;
    readonly sampling: boolean;
  };
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
  /** LM head, final norm and sampling by rows that emit. */
  private readonly head: Float64Array;

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
    this.head = headTable(layer, deployment);
    const host = deployment.overheads.host
      ? ["host: 500 us per step (BLIS) and 5 us per row (recalled)"]
      : [];
    this.unfitted = [...layer.unfitted, ...host];
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
    if (stage === 0) seconds += this.firstStageSeconds(plan);
    if (stage === this.last) seconds += this.headSeconds(emittingRows(plan));
    else seconds += this.table.layer.sendRecvSeconds(tokens, this.within);
    return seconds;
  }

  breakdown(plan: StepPlan, _table: SeqTable, stage: number): readonly OperatorTime[] {
    const { layer } = this.table;
    const { model, overheads } = this.deployment;
    const times: OperatorTime[] = [];
    const push = (operator: string, seconds: number): void => {
      if (seconds > 0) times.push({ operator, seconds });
    };
    for (const { operator, seconds } of layer.operators(plan.tokens))
      push(operator, seconds * this.layers);
    push("attn_decode", this.decodeSeconds(plan) * this.layers);
    push("attn_prefill", this.prefillSeconds(plan) * this.layers);
    if (stage === 0) {
      if (overheads.lmHead) push("emb", embeddingSeconds(layer, model.hidden, plan.tokens));
      if (overheads.host) push("host", HOST_SECONDS + HOST_SECONDS_PER_ROW * plan.rows);
    }
    if (stage === this.last) {
      const rows = emittingRows(plan);
      const parts = headParts(layer, this.deployment, rows);
      push("lm_head", parts.head);
      push("sampling", parts.sampling);
    } else push("send_recv", layer.sendRecvSeconds(plan.tokens, this.within));
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

  private firstStageSeconds(plan: StepPlan): number {
    const { overheads, model } = this.deployment;
    let seconds = 0;
    if (overheads.lmHead) seconds += embeddingSeconds(this.table.layer, model.hidden, plan.tokens);
    if (overheads.host) seconds += HOST_SECONDS + HOST_SECONDS_PER_ROW * plan.rows;
    return seconds;
  }

  private headSeconds(rows: number): number {
    if (rows <= HEAD_ROWS) return this.head[rows] as number;
    return ((this.head[HEAD_ROWS] as number) * rows) / HEAD_ROWS;
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

function embeddingSeconds(layer: Layer, hidden: number, tokens: number): number {
  return layer.byteSeconds("emb", 4 * tokens * hidden);
}

/** LM head with final norm and the gathering of its slices, and sampling, for `rows` rows. */
function headParts(
  layer: Layer,
  { model, tensorParallel, overheads }: RooflineDeployment,
  rows: number,
): { readonly head: number; readonly sampling: number } {
  if (rows === 0) return { head: 0, sampling: 0 };
  let head = 0;
  if (overheads.lmHead) {
    const { base } = layer.applied;
    // The head stays at 16 bits when the layers are quantised.
    const product = layer.product("lm_head", model.hidden, model.vocab / tensorParallel, 2);
    head = layer.productSeconds(product, rows) + layer.byteSeconds("norm", 4 * rows * model.hidden);
    if (tensorParallel > 1)
      head +=
        0.5 * layer.allReduceSeconds((rows * model.vocab) / model.hidden) +
        base.elementwise.add.overhead;
  }
  const sampling = overheads.sampling
    ? bytesTime(
        {
          overhead: SAMPLING_KERNELS * layer.applied.base.elementwise.add.overhead,
          efficiency: layer.applied.base.elementwise.add.efficiency,
        },
        layer.peaks.bandwidth,
        SAMPLING_PASSES * 4 * rows * model.vocab,
      )
    : 0;
  return { head, sampling };
}

/** By rows; straight lines between knots. */
function headTable(layer: Layer, deployment: RooflineDeployment): Float64Array {
  const table = new Float64Array(HEAD_ROWS + 1);
  const at = (rows: number): number => {
    const { head, sampling } = headParts(layer, deployment, rows);
    return head + sampling;
  };
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
