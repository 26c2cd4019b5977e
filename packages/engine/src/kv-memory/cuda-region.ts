/**
 * KV pages in the memory of a CUDA device (vAttention section 5.2): one driver handle for each page, made and let go with
 * its group, mapped wherever the policy puts it. Unlike on the host, an address without a page must never be read: the
 * device would be lost to the process. Kernels read a little beyond a sequence's end, so a page of zeros stands behind
 * every mapped run.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import type { DeviceMemory } from "@millrace/system";
import type { VirtualRegion } from "./virtual-region.ts";

export interface CudaRegionOptions {
  /** Of the range and of all pages together: whole pages. */
  readonly bytes: number;
  readonly poolBytes: number;
  readonly pageBytes: number;
  /** How far behind a mapped page kernels may read. */
  readonly readAheadBytes: number;
}

/** Owns the device memory. Places are readable where a page is mapped, was once, or up to `readAheadBytes` behind one. */
export class CudaRegion implements VirtualRegion {
  readonly sharesPages = true;
  readonly address: bigint;
  readonly #memory: DeviceMemory;
  readonly #bytes: number;
  readonly #pageBytes: number;
  readonly #readAheadPages: number;
  /** Handle of each physical page; 0 = it has no memory. */
  readonly #handles: BigUint64Array;
  /** Pages that hold whatever was in that memory before. */
  readonly #fresh: Uint8Array;
  /** What stands at a place of the range: a physical page, or the page of zeros. */
  readonly #places = new Map<number, number>();
  readonly #zeros: bigint;

  /** Throws CONFIG_INVALID when the device cannot map pages of that size, SYSTEM_CALL_FAILED. */
  constructor(memory: DeviceMemory, options: CudaRegionOptions) {
    const { bytes, poolBytes, pageBytes, readAheadBytes } = options;
    checkPageBytes(memory, pageBytes);
    this.#memory = memory;
    this.#bytes = bytes;
    this.#pageBytes = pageBytes;
    this.#readAheadPages = Math.ceil(readAheadBytes / pageBytes);
    this.#handles = new BigUint64Array(poolBytes / pageBytes);
    this.#fresh = new Uint8Array(this.#handles.length);
    this.address = memory.reserve(bytes);
    try {
      this.#zeros = memory.create(pageBytes);
    } catch (error) {
      memory.free(this.address, bytes);
      throw error;
    }
    try {
      this.#put(0, ZEROS);
      memory.clear(this.address, pageBytes);
    } catch (error) {
      if (this.#places.has(0)) this.#take(0);
      memory.release(this.#zeros);
      memory.free(this.address, bytes);
      throw error;
    }
  }

  async prepare(_offset: number, bytes: number, physical: number): Promise<void> {
    const first = this.#index(physical);
    for (let page = first; page < first + bytes / this.#pageBytes; page++)
      if (this.#handles[page] === 0n)
        this.#keep(page, await this.#memory.createAsync(this.#pageBytes));
  }

  map(offset: number, bytes: number, physical: number): void {
    const first = this.#index(offset);
    const from = this.#index(physical);
    const pages = bytes / this.#pageBytes;
    for (let i = 0; i < pages; i++) this.#mapPage(first + i, from + i);
    const end = Math.min(first + pages + this.#readAheadPages, this.#bytes / this.#pageBytes);
    for (let place = first + pages; place < end; place++)
      if (!this.#places.has(place)) this.#put(place, ZEROS);
  }

  unmap(offset: number, bytes: number): void {
    const first = this.#index(offset);
    for (let place = first; place < first + bytes / this.#pageBytes; place++) {
      const there = this.#places.get(place);
      if (there === undefined || there === ZEROS) continue;
      this.#take(place);
      this.#put(place, ZEROS);
    }
  }

  release(physical: number, bytes: number): void {
    const first = this.#index(physical);
    for (let page = first; page < first + bytes / this.#pageBytes; page++) {
      const handle = this.#handles[page] as bigint;
      if (handle === 0n) continue;
      this.#handles[page] = 0n;
      this.#memory.release(handle);
    }
  }

  [Symbol.dispose](): void {
    for (const place of [...this.#places.keys()]) this.#take(place);
    this.release(0, this.#handles.length * this.#pageBytes);
    this.#memory.release(this.#zeros);
    this.#memory.free(this.address, this.#bytes);
    this.#memory[Symbol.dispose]();
  }

  #mapPage(place: number, page: number): void {
    const there = this.#places.get(place);
    if (there === page) return;
    if (there !== undefined && there !== ZEROS)
      throw new InvariantError(`place ${place} holds page ${there}, not ${page}`);
    if (this.#handles[page] === 0n) this.#keep(page, this.#memory.create(this.#pageBytes));
    if (there === ZEROS) this.#take(place);
    try {
      this.#put(place, page);
    } catch (error) {
      if (there === ZEROS) this.#put(place, ZEROS);
      throw error;
    }
    if (this.#fresh[page] === 0) return;
    // A hidden key still has its value multiplied by 0, and what lay in that memory may be NaN.
    this.#memory.clear(this.#addressOf(place), this.#pageBytes);
    this.#fresh[page] = 0;
  }

  #keep(page: number, handle: bigint): void {
    this.#handles[page] = handle;
    this.#fresh[page] = 1;
  }

  #put(place: number, page: number): void {
    const handle = page === ZEROS ? this.#zeros : (this.#handles[page] as bigint);
    this.#memory.map(this.#addressOf(place), this.#pageBytes, handle);
    this.#places.set(place, page);
  }

  #take(place: number): void {
    this.#memory.unmap(this.#addressOf(place), this.#pageBytes);
    this.#places.delete(place);
  }

  #addressOf(place: number): bigint {
    return this.address + BigInt(place * this.#pageBytes);
  }

  /** Number of the page that begins at a byte. */
  #index(byte: number): number {
    const page = byte / this.#pageBytes;
    if (!Number.isSafeInteger(page) || page < 0)
      throw new InvariantError(`no page of ${this.#pageBytes} bytes begins at ${byte}`);
    return page;
  }
}

/** Stands for the page of zeros among physical pages. */
const ZEROS = -1;

/** Throws CONFIG_INVALID unless the device can map pages of that size. */
export function checkPageBytes(memory: DeviceMemory, pageBytes: number): void {
  const { granularityBytes } = memory;
  if (pageBytes % granularityBytes === 0) return;
  throw new MillraceError(
    "CONFIG_INVALID",
    `a KV page of ${pageBytes} bytes is no multiple of the ${granularityBytes} that the device maps at once`,
    { hint: "leave kv.page out; kv.layout sliced wastes less of a large page" },
  );
}
