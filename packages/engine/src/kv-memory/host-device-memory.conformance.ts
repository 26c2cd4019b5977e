/**
 * Device memory made of host pages: the driver's rules without a GPU. Stricter than the driver where its documentation
 * allows anything: new pages hold 0xff (NaN in every float), and whatever is left over at disposal is an error.
 */
import { MillraceError } from "@millrace/core";
import { type DeviceMemory, MemoryFile, memoryView, Reservation } from "@millrace/system";

interface Page {
  readonly file: MemoryFile;
  mappings: number;
  released: boolean;
}

export class HostDeviceMemory implements DeviceMemory {
  readonly granularityBytes: number;
  /** Physical pages that exist. */
  livePages = 0;
  private readonly limitPages: number;
  private readonly pages = new Map<bigint, Page>();
  private readonly ranges = new Map<bigint, Reservation>();
  /** Handle and bytes at each mapped address. */
  private readonly mapped = new Map<bigint, { readonly handle: bigint; readonly bytes: number }>();
  private next = 1n;

  constructor(granularityBytes: number, limitPages = Number.POSITIVE_INFINITY) {
    this.granularityBytes = granularityBytes;
    this.limitPages = limitPages;
  }

  reserve(bytes: number): bigint {
    this.whole(bytes);
    const range = new Reservation(bytes, "none", this.granularityBytes);
    this.ranges.set(range.address, range);
    return range.address;
  }

  free(address: bigint, bytes: number): void {
    const range = this.ranges.get(address);
    if (range?.bytes !== bytes) throw new Error(`free: ${address} was not reserved so`);
    for (const at of this.mapped.keys())
      if (at >= address && at < address + BigInt(bytes)) throw new Error(`free: ${at} is mapped`);
    this.ranges.delete(address);
    range[Symbol.dispose]();
  }

  create(bytes: number): bigint {
    this.whole(bytes);
    if (this.livePages >= this.limitPages)
      throw new MillraceError("SYSTEM_CALL_FAILED", "cuMemCreate failed: CUDA_ERROR_OUT_OF_MEMORY");
    const file = new MemoryFile("device-page", bytes);
    const window = new Reservation(bytes, "none");
    window.mapFile(0, bytes, file, 0);
    new Uint8Array(memoryView(window.address, bytes)).fill(0xff);
    window[Symbol.dispose]();
    this.livePages++;
    const handle = this.next++;
    this.pages.set(handle, { file, mappings: 0, released: false });
    return handle;
  }

  async createAsync(bytes: number): Promise<bigint> {
    await Promise.resolve();
    return this.create(bytes);
  }

  release(handle: bigint): void {
    const page = this.page(handle);
    page.released = true;
    this.maybeFree(handle, page);
  }

  map(address: bigint, bytes: number, handle: bigint): void {
    const page = this.page(handle);
    if (page.file.bytes !== bytes) throw new Error("map: not the whole page");
    if (this.mapped.has(address)) throw new Error(`map: something stands at ${address}`);
    const { range, offset } = this.place(address, bytes);
    range.mapFile(offset, bytes, page.file, 0);
    this.mapped.set(address, { handle, bytes });
    page.mappings++;
  }

  unmap(address: bigint, bytes: number): void {
    const there = this.mapped.get(address);
    if (there?.bytes !== bytes) throw new Error(`unmap: not what was mapped at ${address}`);
    const { range, offset } = this.place(address, bytes);
    range.unmap(offset, bytes);
    this.mapped.delete(address);
    const page = this.pages.get(there.handle)!;
    page.mappings--;
    this.maybeFree(there.handle, page);
  }

  clear(address: bigint, bytes: number): void {
    if (!this.mapped.has(address)) throw new Error(`clear: nothing at ${address}`);
    new Uint8Array(memoryView(address, bytes)).fill(0);
  }

  [Symbol.dispose](): void {
    if (this.pages.size > 0 || this.ranges.size > 0)
      throw new Error(`${this.pages.size} pages and ${this.ranges.size} ranges are left over`);
  }

  private page(handle: bigint): Page {
    const page = this.pages.get(handle);
    if (page === undefined || page.released) throw new Error(`${handle} is no page`);
    return page;
  }

  private place(address: bigint, bytes: number) {
    this.whole(bytes);
    for (const range of this.ranges.values()) {
      const offset = Number(address - range.address);
      if (offset >= 0 && offset + bytes <= range.bytes) {
        if (offset % this.granularityBytes !== 0) throw new Error(`${address} is no page's`);
        return { range, offset };
      }
    }
    throw new Error(`${address} is not reserved`);
  }

  private whole(bytes: number): void {
    if (bytes <= 0 || bytes % this.granularityBytes !== 0) throw new Error(`${bytes} bytes`);
  }

  private maybeFree(handle: bigint, page: Page): void {
    if (!page.released || page.mappings > 0) return;
    this.pages.delete(handle);
    page.file[Symbol.dispose]();
    this.livePages--;
  }
}
