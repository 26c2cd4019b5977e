/**
 * Attention masks, kept from step to step: a decode step changes one element per row, a prefill chunk only the staircase at
 * the end of its rows. Filling them anew would cost time proportional to the context.
 */
import { type Device, newTensor, type Tensor, type TensorArena } from "@millrace/ggml";
import type { ExecutorBatch } from "../../../contracts.ts";
import { Area } from "../memory/area.ts";
import type { AttentionGroup, BatchLayout } from "./batch-layout.ts";

/** -infinity in half precision. */
const hidden = 0xfc00;
/** Lines are rounded up to this many keys, so that they seldom change their length. */
const keyStep = 256;

/** Keys of a line of the group's mask; 0 = it has none. */
export function maskKeys(group: AttentionGroup): number {
  return group.masked ? Math.ceil(group.keys / keyStep) * keyStep : 0;
}

/** The mask of the i-th group of a batch: f16 [keys, lines], line by line; 0 = seen. */
class Mask implements Disposable {
  readonly area: Area;
  #cells: Uint16Array = new Uint16Array(0);
  #keys = 0;
  #lines = 0;
  /** Seen keys of each line are [from, to). */
  #from = new Int32Array(0);
  #to = new Int32Array(0);

  constructor(device: Device) {
    this.area = new Area(device, 4096);
  }

  /** Gives it a shape; lines keep what they show where the shape stays. */
  shape(keys: number, lines: number): void {
    if (keys === this.#keys && lines === this.#lines) return;
    if (this.area.ensure(2 * keys * lines)) this.#cells = new Uint16Array(0);
    else this.#clear();
    if (this.#cells.length === 0) this.#cells = this.area.host.u16();
    this.#keys = keys;
    this.#lines = lines;
    if (this.#from.length < lines) {
      this.#from = new Int32Array(lines * 2);
      this.#to = new Int32Array(lines * 2);
    }
    // Cells are zero, that is seen, until they are hidden.
    this.#from.fill(0, 0, lines);
    this.#to.fill(keys, 0, lines);
  }

  /** Makes everything seen again, touching only what was hidden. */
  #clear(): void {
    for (let line = 0; line < this.#lines; line++) this.show(line, 0, this.#keys);
  }

  /** Makes exactly the keys [from, to) of a line seen. */
  show(line: number, from: number, to: number): void {
    const at = line * this.#keys;
    const f = this.#from[line] as number;
    const t = this.#to[line] as number;
    const cells = this.#cells;
    if (to > t) cells.fill(0, at + Math.max(t, from), at + to);
    else if (to < t) cells.fill(hidden, at + to, at + t);
    if (from < f) cells.fill(0, at + from, at + Math.min(f, to));
    else if (from > f) cells.fill(hidden, at + f, at + Math.min(from, to));
    this.#from[line] = from;
    this.#to[line] = to;
  }

  upload(): void {
    this.area.upload(2 * this.#keys * this.#lines);
  }

  [Symbol.dispose](): void {
    this.area[Symbol.dispose]();
  }
}

export class Masks implements Disposable {
  readonly #device: Device;
  readonly #window: number;
  readonly #masks: Mask[] = [];

  /** `window`: tokens that each one sees, itself included; 0 = all before it. */
  constructor(device: Device, window: number) {
    this.#device = device;
    this.#window = window;
  }

  /** Rises when a mask moved. */
  get moves(): number {
    let sum = this.#masks.length;
    for (const mask of this.#masks) sum += mask.area.moves;
    return sum;
  }

  /** Brings the masks up to date with the batch. */
  fill(batch: ExecutorBatch, layout: BatchLayout): void {
    let decode = layout.prefillRows;
    for (let i = 0; i < layout.groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      if (!group.masked) {
        if (group.queries === 1) decode += group.rows;
        continue;
      }
      const mask = this.#mask(i);
      mask.shape(maskKeys(group), maskLines(group));
      if (group.queries > 1)
        for (let q = 0; q < group.queries; q++) this.#show(mask, q, group.start + q);
      else
        for (let r = 0; r < group.rows; r++)
          this.#show(mask, r, batch.start[layout.order[decode++] as number] as number);
      if (group.doubled) this.#show(mask, 1, group.start);
      mask.upload();
    }
  }

  /** The mask of group `index`, for `flashAttention`; null when it needs none. */
  tensor(arena: TensorArena, index: number, group: AttentionGroup): Tensor | null {
    if (!group.masked) return null;
    const { rows, queries } = group;
    const keys = maskKeys(group);
    const lines = maskLines(group);
    const ne = queries === 1 && rows > 1 ? [keys, 1, 1, rows] : [keys, lines];
    return this.#mask(index).area.point(newTensor(arena, "f16", ne));
  }

  #show(mask: Mask, line: number, position: number): void {
    const from = this.#window === 0 ? 0 : Math.max(0, position + 1 - this.#window);
    mask.show(line, from, position + 1);
  }

  #mask(index: number): Mask {
    // Groups before it may have had no mask yet; each keeps its own place.
    while (this.#masks.length <= index) this.#masks.push(new Mask(this.#device));
    return this.#masks[index] as Mask;
  }

  [Symbol.dispose](): void {
    for (const mask of this.#masks) mask[Symbol.dispose]();
  }
}

function maskLines(group: AttentionGroup): number {
  return group.doubled ? 2 : group.queries * group.rows;
}
