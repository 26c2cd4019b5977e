/** Everything in a layer whose time depends on the number of tokens alone: products, element-wise operators, collectives. */
import { expertLayers } from "../../catalogue/parameters.ts";
import { bytesPerParameter, kvBytesPerTokenLayer, kvHeadsPerDevice } from "../../memory/split.ts";
import type { DeviceSpec, ModelSpec } from "../../types.ts";
import type { OperatorTime } from "../cost-model.ts";
import {
  type AppliedCalibration,
  type ByteCoefficients,
  calibrationFor,
  type Elementwise,
  nearestLink,
} from "./calibration.ts";
import { gemmSeconds, type Peaks, ResidualCurve, smoothMaximum } from "./gemm.ts";

const ACTIVATION_BYTES = 2;
/** Kernels that route tokens to experts and gather them again (top-k, sort, permute, sum); recalled from vLLM traces. */
const ROUTING_KERNELS = 4;

/** What fixes the time of a layer. */
export interface LayerDeployment {
  readonly model: ModelSpec;
  readonly device: DeviceSpec;
  readonly tensorParallel: number;
  readonly weightBytes: number;
  readonly kvBytes: number;
}

interface Product {
  readonly operator: string;
  readonly k: number;
  readonly n: number;
  readonly bytesPerWeight: number;
  readonly curve: ResidualCurve | null;
}

/** One mean layer on one device of a tensor-parallel group. Attention kernels and stage borders are not in it. */
export class Layer {
  readonly applied: AppliedCalibration;
  readonly peaks: Peaks;
  private readonly deployment: LayerDeployment;
  private readonly attention: readonly Product[];
  private readonly denseMlp: readonly Product[];
  private readonly sparseMlp: readonly Product[];
  /** Share of the layers with experts. */
  private readonly sparseShare: number;
  private readonly bytesPerWeight: number;

  constructor(deployment: LayerDeployment) {
    const { model, device, tensorParallel: tp, weightBytes } = deployment;
    this.deployment = deployment;
    this.applied = calibrationFor(device);
    const tflops =
      weightBytes === 1 && device.fp8Tflops !== undefined ? device.fp8Tflops : device.tflops;
    this.peaks = { flops: tflops * 1e12, bandwidth: device.memoryBandwidth };
    this.bytesPerWeight = bytesPerParameter(weightBytes);
    const { hidden, heads, headDim, mla } = model;
    this.sparseShare = expertLayers(model) / model.layers;
    if (mla === undefined) {
      const width = (heads / tp + 2 * kvHeadsPerDevice(model, tp)) * headDim;
      this.attention = [
        this.product("attn_pre_proj", hidden, width),
        this.product("attn_post_proj", (heads * headDim) / tp, hidden),
      ];
    } else {
      const query = (heads * (headDim + mla.ropeDim)) / tp;
      const down = mla.kvRank + mla.ropeDim;
      const queries =
        mla.queryRank > 0
          ? [
              this.product("attn_pre_proj", hidden, mla.queryRank + down),
              this.product("attn_query_up", mla.queryRank, query),
            ]
          : [this.product("attn_pre_proj", hidden, query + down)];
      this.attention = [
        ...queries,
        this.product("attn_kv_up", mla.kvRank, (heads * (headDim + mla.valueDim)) / tp),
        this.product("attn_post_proj", (heads * mla.valueDim) / tp, hidden),
      ];
    }
    const mlp = (width: number, prefix: string): Product[] => [
      this.product(`${prefix}_up_proj`, hidden, ((model.gated ? 2 : 1) * width) / tp),
      this.product(`${prefix}_down_proj`, width / tp, hidden),
    ];
    this.denseMlp = this.sparseShare < 1 ? mlp(model.dense?.ffn ?? model.ffn, "mlp") : [];
    const shared = model.experts?.shared ?? 0;
    this.sparseMlp =
      model.experts === undefined || shared === 0 ? [] : mlp(shared * model.ffn, "shared_expert");
  }

  /** Terms that no measurement of this device stands behind. */
  get unfitted(): readonly string[] {
    const { device, weightBytes, model, kvBytes } = this.deployment;
    const list = [...this.applied.unfitted];
    if (weightBytes !== 2)
      list.push(`${device.name}: products with ${weightBytes}-byte weights scaled from 16 bit`);
    if (kvBytes !== 2)
      list.push(`${device.name}: attention with ${kvBytes}-byte KV scaled from 16 bit`);
    if (model.experts !== undefined)
      list.push("experts: grouped products as plain ones, tokens spread evenly over experts");
    if (model.mla !== undefined) list.push("latent attention: bytes and operations only");
    return list;
  }

  /** Seconds of one layer for `tokens` tokens. */
  seconds(tokens: number): number {
    let sum = 0;
    this.visit(tokens, (_, seconds) => {
      sum += seconds;
    });
    return sum;
  }

  /** The same by operator. */
  operators(tokens: number): readonly OperatorTime[] {
    const times: OperatorTime[] = [];
    this.visit(tokens, (operator, seconds) => times.push({ operator, seconds }));
    return times;
  }

  /** Seconds of a product on this device, residuals of profiled shapes included. */
  productSeconds(product: Product, rows: number): number {
    const { gemm } = this.applied.base;
    const seconds = gemmSeconds(
      gemm,
      this.peaks,
      rows,
      product.k,
      product.n,
      product.bytesPerWeight,
    );
    return product.curve === null ? seconds : seconds * product.curve.factor(rows);
  }

  /** A product of this device; `bytesPerWeight` where it differs from the layers' precision. */
  product(operator: string, k: number, n: number, bytesPerWeight = this.bytesPerWeight): Product {
    const { residuals, device } = this.applied.base;
    // Residuals are properties of one device's kernels with 16-bit weights.
    const own = device === this.deployment.device.name && bytesPerWeight === 2;
    const curve = residuals !== null && own ? new ResidualCurve(residuals, k, n) : null;
    return { operator, k, n, bytesPerWeight, curve };
  }

  /** Seconds of an operator that moves `bytes`. */
  byteSeconds(operator: Elementwise, bytes: number): number {
    return bytesTime(this.applied.base.elementwise[operator], this.peaks.bandwidth, bytes);
  }

  /** Seconds of one all-reduce of `tokens` rows of hidden size over the tensor-parallel group. */
  allReduceSeconds(tokens: number): number {
    const { model, device, tensorParallel: n } = this.deployment;
    if (n === 1) return 0;
    const within = n <= device.devicesPerServer;
    const fit = nearestLink(this.applied.base.allReduce, n, within);
    if (fit === null) return 0;
    const bytes = ((2 * (n - 1)) / n) * tokens * model.hidden * ACTIVATION_BYTES;
    return (
      fit.overhead +
      bytes / (fit.rate * (within ? this.applied.linkScale : this.applied.networkScale))
    );
  }

  /** Seconds to hand `tokens` rows to the next stage. */
  sendRecvSeconds(tokens: number, within: boolean): number {
    const fit = nearestLink(this.applied.base.sendRecv, 2, within);
    if (fit === null) return 0;
    const bytes = tokens * this.deployment.model.hidden * ACTIVATION_BYTES;
    return (
      fit.overhead +
      bytes / (fit.rate * (within ? this.applied.linkScale : this.applied.networkScale))
    );
  }

  private visit(tokens: number, add: (operator: string, seconds: number) => void): void {
    const { model, tensorParallel: tp, kvBytes } = this.deployment;
    const { hidden, headDim, heads } = model;
    const kvHeads = kvHeadsPerDevice(model, tp);
    for (const product of this.attention)
      add(product.operator, this.productSeconds(product, tokens));
    if (model.learnedPositions !== true) {
      const rotary = model.mla?.ropeDim ?? headDim;
      add(
        "attn_rope",
        this.byteSeconds("rope", 2 * ACTIVATION_BYTES * tokens * (heads / tp + kvHeads) * rotary),
      );
    }
    const kv = kvBytesPerTokenLayer(model, tp, kvBytes);
    add("attn_kv_cache_save", this.byteSeconds("kv_save", 2 * tokens * kv));
    const norms = model.postAttentionNorm ? 2 : 1;
    add("norm", norms * this.byteSeconds("norm", 2 * ACTIVATION_BYTES * tokens * hidden));
    add("add", 2 * this.byteSeconds("add", 3 * ACTIVATION_BYTES * tokens * hidden));
    const dense = 1 - this.sparseShare;
    if (dense > 0)
      this.plainMlp(this.denseMlp, tokens, model.dense?.ffn ?? model.ffn, dense, "mlp_act", add);
    if (this.sparseShare > 0) {
      const shared = model.experts?.shared ?? 0;
      if (shared > 0)
        this.plainMlp(
          this.sparseMlp,
          tokens,
          shared * model.ffn,
          this.sparseShare,
          "shared_expert_act",
          add,
        );
      this.expertMlp(tokens, add);
    }
    const reduce = this.allReduceSeconds(tokens);
    // Attention and MLP that run in parallel need one sum, the others two.
    if (reduce > 0) add("all_reduce", (model.postAttentionNorm ? 2 : 1) * reduce);
  }

  private plainMlp(
    products: readonly Product[],
    tokens: number,
    width: number,
    share: number,
    act: string,
    add: (operator: string, seconds: number) => void,
  ): void {
    for (const product of products)
      add(product.operator, share * this.productSeconds(product, tokens));
    add(act, share * this.actSeconds(tokens, width));
  }

  private actSeconds(tokens: number, width: number): number {
    const { model, tensorParallel } = this.deployment;
    const passes = model.gated ? 3 : 2;
    return this.byteSeconds("act", (passes * ACTIVATION_BYTES * tokens * width) / tensorParallel);
  }

  /**
   * Experts as one grouped product: tokens choose `active` of `count` experts independently and evenly, so that
   * count * (1 - (1 - active / count)^tokens) of them are read.
   */
  private expertMlp(tokens: number, add: (operator: string, seconds: number) => void): void {
    const { model, tensorParallel } = this.deployment;
    if (model.experts === undefined) return;
    const { count, active } = model.experts;
    const distinct = count * (1 - (1 - active / count) ** tokens);
    const rows = tokens * active;
    const { gemm } = this.applied.base;
    const grouped = (k: number, n: number): number => {
      const compute =
        ((2 * rows * k * n) / (this.peaks.flops * gemm.efficiency)) *
        (1 + (gemm.fill * distinct) / rows);
      const bytes = distinct * k * n * this.bytesPerWeight + ACTIVATION_BYTES * rows * (k + n);
      const memory = bytes / (this.peaks.bandwidth * gemm.bandwidthEfficiency);
      return gemm.overhead + smoothMaximum(compute, memory, gemm.sharpness);
    };
    const share = this.sparseShare;
    const width = model.ffn / tensorParallel;
    const small = this.applied.base.elementwise.add.overhead;
    const router = gemmSeconds(gemm, this.peaks, tokens, model.hidden, count, ACTIVATION_BYTES);
    add("expert_router", share * (router + ROUTING_KERNELS * small));
    add("expert_up_proj", share * grouped(model.hidden, (model.gated ? 2 : 1) * width));
    add("expert_act", share * this.actSeconds(rows, model.ffn));
    add("expert_down_proj", share * grouped(width, model.hidden));
  }
}

/** Seconds of an operator that moves `bytes` at a share of `bandwidth`. */
export function bytesTime(c: ByteCoefficients, bandwidth: number, bytes: number): number {
  return c.overhead + bytes / (bandwidth * c.efficiency);
}
