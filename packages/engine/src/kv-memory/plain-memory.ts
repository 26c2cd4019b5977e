/** KV memory without pages: every byte is there from the start. For static reservations, and where no pages can be moved. */
import { HostMemory } from "@millrace/ggml";
import type { KvMemory } from "../contracts.ts";
import type { KvLayout } from "./kv-layout.ts";

export class PlainKvMemory implements KvMemory {
  readonly groupBytes: number;
  readonly mappedGroups: number;
  readonly slotStride: number;
  readonly tokenStride: number;
  private readonly tensors: readonly HostMemory[];
  private readonly layout: KvLayout;

  constructor(layout: KvLayout) {
    this.layout = layout;
    this.groupBytes = layout.groupBytes;
    this.slotStride = layout.slotStride;
    this.tokenStride = layout.tokenStride;
    this.mappedGroups = (layout.tensors * layout.tensorBytes) / layout.groupBytes;
    this.tensors = Array.from({ length: layout.tensors }, () => {
      const memory = new HostMemory(layout.tensorBytes + layout.readAheadBytes);
      // Static means that it occupies its memory now, not when a request first needs it.
      memory.u8().fill(0);
      return memory;
    });
  }

  address(layer: number, kind: "k" | "v"): bigint {
    const { tensorBytes } = this.layout;
    const offset = this.layout.offset(layer, kind);
    const tensor = Math.floor(offset / tensorBytes);
    return this.tensors[tensor]!.address + BigInt(offset - tensor * tensorBytes);
  }

  carryOut(): readonly number[] {
    return [];
  }

  async carryOutInBackground(): Promise<readonly number[]> {
    return [];
  }

  [Symbol.dispose](): void {}
}
