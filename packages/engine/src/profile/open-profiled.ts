/** Opens an executor for profiling: as the engine would run it, with KV memory that is given out directly. */
import { InvariantError } from "@millrace/core";
import { KvOrders, ORDER_MAP, PageFit, SeqTable } from "@millrace/serving";
import type { EngineOptions, Executor } from "../contracts.ts";
import { openExecutor } from "../executor/open-executor.ts";
import type { GridLimits } from "./grid.ts";

export interface Profiled extends Disposable {
  readonly executor: Executor;
  readonly limits: GridLimits;
  /** Maps the pages of the first `tokens` tokens of slots 0 … slots - 1. */
  readonly provide: (slots: number, tokens: number) => void;
}

/** Rejects like `openExecutor`; the model must be one that the ggml executor knows. */
export async function openProfiled(
  options: EngineOptions,
  onProgress: (what: string) => void,
): Promise<Profiled> {
  const contextTokens = options.contextTokens ?? 4096;
  const { executor, kv } = await openExecutor(
    { ...options, executor: "ggml", contextTokens },
    new SeqTable(1),
    onProgress,
  );
  const { memory } = executor;
  if (memory === null) throw new InvariantError("the ggml executor has no KV memory");
  const { slots, slotTokens } = executor.kv;
  const groups = kv.pages;
  // Each group is one page of every tensor; the token stride says how tokens lie in it.
  const tensors = memory.tokenStride === executor.kv.tokenBytes ? 2 * executor.kv.layers : 2;
  const fit = new PageFit(memory.groupBytes / tensors, memory.tokenStride);
  const mapped = new Int32Array(slots);
  let next = 0;
  return {
    executor,
    limits: {
      slots,
      slotTokens,
      tileTokens: executor.tileTokens,
      kvTokens: fit.tokensIn(Math.max(0, groups - slots)),
    },
    provide: (count, tokens) => {
      const orders = new KvOrders();
      const pages = fit.pagesFor(Math.min(tokens, slotTokens));
      for (let slot = 0; slot < count; slot++)
        for (; mapped[slot]! < pages; mapped[slot]!++)
          orders.push(ORDER_MAP, slot, mapped[slot]!, next++, orders.n);
      if (next > groups || memory.carryOut(orders).length > 0)
        throw new InvariantError(`the KV cache of ${groups} page groups is too small for the grid`);
    },
    [Symbol.dispose]: () => executor[Symbol.dispose](),
  };
}
