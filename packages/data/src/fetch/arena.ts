/** Memory for items on their way from storage to preparation: page aligned, seen by all threads, bounded. */
import { InvariantError, wasm } from "@millrace/core";
import type { Area } from "../batch/area.ts";

/** Every block starts at a multiple of this, which direct input needs. */
export const arenaAlignment = 4096;

/** First-fit allocator over one shared memory; blocks are whole pages. */
export class Arena {
  readonly area: Area & { readonly kind: "buffer" };
  readonly bytes: number;
  private used = 0;
  /** Free ranges by offset, never adjacent. */
  private free: { offset: number; bytes: number }[];

  /** Throws InvariantError beyond 4 GiB - 64 KiB, which one shared memory cannot be. */
  constructor(bytes: number) {
    const pages = Math.ceil(bytes / 65536);
    if (!(pages >= 1 && pages < 65536)) throw new InvariantError(`an arena of ${bytes} bytes`);
    this.bytes = pages * 65536;
    const { buffer } = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
    this.area = { kind: "buffer", buffer: buffer as SharedArrayBuffer };
    this.free = [{ offset: 0, bytes: this.bytes }];
  }

  /** Bytes that are handed out. */
  get usedBytes(): number {
    return this.used;
  }

  /** Offset of a block, or -1 when none is free that large. */
  take(bytes: number): number {
    const size = rounded(bytes);
    for (let i = 0; i < this.free.length; i++) {
      const range = this.free[i] as { offset: number; bytes: number };
      if (range.bytes < size) continue;
      const { offset } = range;
      range.offset += size;
      range.bytes -= size;
      if (range.bytes === 0) this.free.splice(i, 1);
      this.used += size;
      return offset;
    }
    return -1;
  }

  /** Gives a block back; the size is the one it was taken with. */
  give(offset: number, bytes: number): void {
    const size = rounded(bytes);
    this.used -= size;
    let i = 0;
    while (i < this.free.length && (this.free[i] as { offset: number }).offset < offset) i++;
    const before = this.free[i - 1];
    const after = this.free[i];
    if (
      (before !== undefined && before.offset + before.bytes > offset) ||
      (after !== undefined && offset + size > after.offset)
    )
      throw new InvariantError(`the arena's block at ${offset} was given back twice`);
    if (before !== undefined && before.offset + before.bytes === offset) {
      before.bytes += size;
      if (after !== undefined && offset + size === after.offset) {
        before.bytes += after.bytes;
        this.free.splice(i, 1);
      }
    } else if (after !== undefined && offset + size === after.offset) {
      after.offset = offset;
      after.bytes += size;
    } else this.free.splice(i, 0, { offset, bytes: size });
  }

  view(offset: number, bytes: number): Uint8Array {
    return new Uint8Array(this.area.buffer, offset, bytes);
  }
}

const rounded = (bytes: number): number =>
  Math.max(arenaAlignment, Math.ceil(bytes / arenaAlignment) * arenaAlignment);
