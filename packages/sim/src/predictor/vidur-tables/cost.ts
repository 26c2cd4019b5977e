/**
 * Vidur's step cost: its featurisation of a batch and its order of float additions, so that simulated times equal
 * Vidur's to the last bit where its tables have the key, and go on (flagged) where Vidur stops with a KeyError.
 */
import { MillraceError } from "@millrace/core";
import type { SeqTable, StepPlan } from "@millrace/serving";
import type { ModelSpec } from "../../types.ts";
import type { OperatorTime, PredictedCost } from "../cost-model.ts";
import { KV_GRANULARITY, type VidurTables } from "./tables.ts";

/** Vidur's defaults: cost of batching several decodes or prefills of a grouped-query model. */
const BATCHING_OVERHEAD = 0.1;
/** Vidur's default CPU time to launch one NCCL collective, milliseconds. */
const NCCL_LAUNCH_MS = 0.02;

/** The deployment that the tables were made for. */
export interface VidurDeployment {
  readonly model: ModelSpec;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
}

/**
 * Step cost from Vidur's tables. Token-level operators are looked up at the batch's tokens rounded up to 8 (kv save:
 * exact); decodes at (rows, mean context rounded up to 64); prefills as one equivalent chunk of root-sum-square size.
 * Throws PROFILE_INVALID when TP or PP needs a collective that the tables lack.
 */
export class VidurTablesCost implements PredictedCost {
  extrapolatedSteps = 0;
  readonly unfitted: readonly string[];
  private readonly tables: VidurTables;
  private readonly layers: number;
  private readonly stages: number;
  private readonly tensorParallel: number;
  private readonly maxTokens: number;
  private readonly batching: number;
  private readonly postNorm: boolean;
  /** (pre_proj + post_proj) + rope, the first sums of the attention half, by tokens / 8. */
  private readonly projections: Float64Array;
  private readonly norm: Float64Array;
  private readonly collective: Float64Array;
  /** The whole MLP half: up + down + act + collective + norm. */
  private readonly mlp: Float64Array;
  private readonly add: Float64Array;
  private readonly sendRecv: Float64Array;
  private readonly kvSave: Float64Array;
  private outOfRange = false;

  constructor(tables: VidurTables, deployment: VidurDeployment) {
    const { model, tensorParallel, pipelineParallel } = deployment;
    if (tensorParallel > 1 && tables.allReduce === null)
      throw missing(tables, "all_reduce", `tensorParallel is ${tensorParallel}`);
    if (pipelineParallel > 1 && tables.sendRecv === null)
      throw missing(tables, "send_recv", `pipelineParallel is ${pipelineParallel}`);
    this.tables = tables;
    this.unfitted = tables.unfitted;
    this.tensorParallel = tensorParallel;
    this.stages = pipelineParallel;
    this.layers = Math.floor(model.layers / pipelineParallel);
    this.batching = model.heads > model.kvHeads ? BATCHING_OVERHEAD : 0;
    this.postNorm = model.postAttentionNorm;
    const { token } = tables;
    this.maxTokens = Math.floor(token.add.length / 8) * 8;
    if (this.maxTokens < 8) throw missing(tables, "entries for at least 8 tokens", "it is shorter");
    const zero = new Float64Array(token.add.length);
    const at8 = (of: (i: number) => number): Float64Array =>
      Float64Array.from({ length: this.maxTokens / 8 + 1 }, (_, i) => of(Math.max(i * 8 - 1, 0)));
    const get = (values: Float64Array, i: number): number => values[i] as number;
    const pre = token.attn_pre_proj;
    this.projections = at8(
      (i) => get(pre, i) + get(token.attn_post_proj, i) + get(token.attn_rope, i),
    );
    this.norm = at8((i) => get(token.input_layernorm, i));
    const reduce = tables.allReduce ?? zero;
    this.collective = at8((i) => (tensorParallel > 1 ? get(reduce, i) + NCCL_LAUNCH_MS : 0));
    this.mlp = at8((i) => {
      const collective = tensorParallel > 1 ? get(reduce, i) + NCCL_LAUNCH_MS : 0;
      const norm = this.postNorm ? get(token.post_attention_layernorm, i) : 0;
      return (
        get(token.mlp_up_proj, i) +
        get(token.mlp_down_proj, i) +
        get(token.mlp_act, i) +
        collective +
        norm
      );
    });
    this.add = at8((i) => get(token.add, i));
    this.sendRecv = at8((i) => get(tables.sendRecv ?? zero, i));
    this.kvSave = token.attn_kv_cache_save;
  }

  stepSeconds(plan: StepPlan, _table: SeqTable, stage: number): number {
    this.outOfRange = false;
    const rounded = (plan.tokens + 7) >> 3;
    const decode = this.decodeMs(plan.decodeRows, plan.decodeContext);
    const prefill = this.prefillMs(plan);
    const collective = this.byEight(this.collective, rounded);
    const attention =
      this.byEight(this.projections, rounded) +
      this.kvSaveMs(plan.tokens) +
      decode +
      prefill +
      collective +
      this.byEight(this.norm, rounded);
    const block = attention + this.byEight(this.mlp, rounded) + this.byEight(this.add, rounded);
    const send = stage === this.stages - 1 ? 0 : this.byEight(this.sendRecv, rounded);
    if (this.outOfRange && stage === 0) this.extrapolatedSteps++;
    return (block * this.layers + send) * 1e-3;
  }

  breakdown(plan: StepPlan, _table: SeqTable, stage: number): readonly OperatorTime[] {
    const counted = this.extrapolatedSteps;
    const rounded = Math.max(plan.tokens + 7, 8) & ~7;
    const { token } = this.tables;
    const byTokens = (values: Float64Array): number =>
      values[rounded - 1] ?? this.beyond(values, rounded);
    const times: OperatorTime[] = [];
    const push = (operator: string, ms: number): void => {
      if (ms > 0) times.push({ operator, seconds: ms * this.layers * 1e-3 });
    };
    push("attn_pre_proj", byTokens(token.attn_pre_proj));
    push("attn_post_proj", byTokens(token.attn_post_proj));
    push("attn_rope", byTokens(token.attn_rope));
    push("attn_kv_cache_save", this.kvSaveMs(plan.tokens));
    push("attn_decode", this.decodeMs(plan.decodeRows, plan.decodeContext));
    push("attn_prefill", this.prefillMs(plan));
    push("input_layernorm", byTokens(token.input_layernorm));
    push("mlp_up_proj", byTokens(token.mlp_up_proj));
    push("mlp_down_proj", byTokens(token.mlp_down_proj));
    push("mlp_act", byTokens(token.mlp_act));
    if (this.postNorm) push("post_attention_layernorm", byTokens(token.post_attention_layernorm));
    push("add", byTokens(token.add));
    push("all_reduce", 2 * this.byEight(this.collective, rounded >> 3));
    if (stage < this.stages - 1)
      times.push({
        operator: "send_recv",
        seconds: this.byEight(this.sendRecv, rounded >> 3) * 1e-3,
      });
    this.extrapolatedSteps = counted;
    return times;
  }

  describe(): string {
    const parallel = `TP ${this.tensorParallel}, PP ${this.stages}`;
    return `${this.tables.source} (${parallel}, Vidur's features and order of sums)`;
  }

  private byEight(values: Float64Array, eighths: number): number {
    if (eighths < values.length) return values[eighths] as number;
    return this.beyond(values, eighths);
  }

  private kvSaveMs(tokens: number): number {
    if (tokens <= this.kvSave.length) return this.kvSave[tokens - 1] as number;
    return this.beyond(this.kvSave, tokens);
  }

  private decodeMs(rows: number, context: number): number {
    if (rows === 0) return 0;
    const factor = 1 + this.batching * (rows > 1 ? 1 : 0);
    const { rows: most, columns, values } = this.tables.decode;
    const step = Math.ceil(Math.trunc(context / rows) / KV_GRANULARITY);
    if (rows <= most && step < columns)
      return (values[(rows - 1) * columns + step] as number) * factor;
    this.outOfRange = true;
    const atRow = Math.min(rows, most);
    const atStep = Math.min(step, columns - 1);
    const edge = values[(atRow - 1) * columns + atStep] as number;
    const work = (rows * Math.max(step, 1)) / (atRow * Math.max(atStep, 1));
    return grow(values[0] as number, edge, work) * factor;
  }

  private prefillMs(plan: StepPlan): number {
    const { data, n } = plan.prefill;
    if (n === 0) return 0;
    let kvSteps = 0;
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const row = data[i] as number;
      const chunk = plan.count[row] as number;
      kvSteps += ((plan.start[row] as number) + KV_GRANULARITY - 1) >> 6;
      squares += chunk * chunk;
    }
    // No root of an integer ends in exactly one half, so rounding half to even and half up agree.
    const chunk = Math.round(Math.sqrt(squares));
    const factor = 1 + this.batching * (n > 1 ? 1 : 0);
    const { rows, columns, values } = this.tables.prefill;
    if (kvSteps < rows && chunk <= columns)
      return (values[kvSteps * columns + chunk - 1] as number) * factor;
    this.outOfRange = true;
    const atKv = Math.min(kvSteps, rows - 1);
    const atChunk = Math.min(chunk, columns);
    const edge = values[atKv * columns + atChunk - 1] as number;
    const work =
      (chunk * (kvSteps * KV_GRANULARITY + chunk)) / (atChunk * (atKv * KV_GRANULARITY + atChunk));
    return grow(values[0] as number, edge, work) * factor;
  }

  private beyond(values: Float64Array, position: number): number {
    this.outOfRange = true;
    const last = values.length - 1;
    return grow(values[0] as number, values[last] as number, position / last);
  }
}

/** Extrapolation: the smallest entry is launch cost, the rest of the edge entry grows with the work. */
function grow(smallest: number, edge: number, work: number): number {
  const fixed = Math.min(smallest, edge);
  return fixed + (edge - fixed) * work;
}

function missing(tables: VidurTables, what: string, because: string): MillraceError {
  return new MillraceError("PROFILE_INVALID", `${tables.source} lacks ${what}, but ${because}`, {
    hint: "Export the tables for this deployment, or use the roofline predictor.",
  });
}
