/**
 * Where a built graph reads K and V. Between two steps of a decode only the number of keys changes, between two chunks the
 * slot too: both are fields of the views, and changing them costs a hundredth of building the graph anew.
 */
import { type FieldPlace, type Tensor, type TensorArena, tensorStruct } from "@millrace/ggml";
import type { AttentionGroup, BatchLayout } from "../batch/batch-layout.ts";
import type { KvStore } from "../memory/kv-store.ts";

interface Site {
  readonly kKeys: FieldPlace;
  readonly vKeys: FieldPlace;
  readonly kData: FieldPlace;
  readonly vData: FieldPlace;
}

const keysField = tensorStruct.ne + 8;

export class AttentionSites {
  /** Layer by layer, the groups of each in order. */
  readonly #sites: Site[] = [];
  #keys = new Int32Array(8);
  #slots = new Int32Array(8);

  /** Forgets the sites of the graph before. */
  begin(layout: BatchLayout): void {
    this.#sites.length = 0;
    if (this.#keys.length < layout.groupCount) {
      this.#keys = new Int32Array(layout.groupCount * 2);
      this.#slots = new Int32Array(layout.groupCount * 2);
    }
    for (let i = 0; i < layout.groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      this.#keys[i] = group.keys;
      this.#slots[i] = group.slot;
    }
  }

  /** Adds the views of the next group, or of the first group of the next layer. */
  add(arena: TensorArena, k: Tensor, v: Tensor): void {
    this.#sites.push({
      kKeys: arena.place(k, keysField),
      vKeys: arena.place(v, keysField),
      kData: arena.place(k, tensorStruct.data),
      vData: arena.place(v, tensorStruct.data),
    });
  }

  /** Points the views of a layer that were added last at the layer's own memory. */
  settle(arena: TensorArena, layer: number, layout: BatchLayout, store: KvStore): void {
    for (let i = 0; i < layout.groupCount; i++) {
      const site = this.#sites[layer * layout.groupCount + i] as Site;
      const { slot } = layout.groups[i] as AttentionGroup;
      arena.put(site.kData, store.address(layer, "k", slot));
      arena.put(site.vData, store.address(layer, "v", slot));
    }
  }

  /** Makes the graph read what the layout says; its groups are those of the graph but for keys and slots. */
  move(arena: TensorArena, layout: BatchLayout, store: KvStore): void {
    const { groupCount } = layout;
    for (let i = 0; i < groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      const moved = this.#slots[i] !== group.slot;
      if (!moved && this.#keys[i] === group.keys) continue;
      const keys = BigInt(group.keys);
      for (let at = i, layer = 0; at < this.#sites.length; at += groupCount, layer++) {
        const site = this.#sites[at] as Site;
        arena.put(site.kKeys, keys);
        arena.put(site.vKeys, keys);
        if (!moved) continue;
        arena.put(site.kData, store.address(layer, "k", group.slot));
        arena.put(site.vData, store.address(layer, "v", group.slot));
      }
      this.#keys[i] = group.keys;
      this.#slots[i] = group.slot;
    }
  }
}
