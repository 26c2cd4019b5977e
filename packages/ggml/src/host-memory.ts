/** Memory that both JavaScript and native code use: an ArrayBuffer that never moves, with its address. */
import { koffi } from "@millrace/system";

/** Alignment ggml asks of host buffers, bytes; a cache line. */
export const hostAlignment = 64;

/**
 * `bytes` of zeroed memory on a 64-byte border, freed by the garbage collector once nothing refers to it. Native code only
 * borrows it: keep the object as long as a tensor or a call may touch it.
 */
export class HostMemory {
  readonly address: bigint;
  readonly bytes: number;
  readonly #buffer: ArrayBuffer;
  readonly #offset: number;

  constructor(bytes: number) {
    this.bytes = Math.ceil(Math.max(bytes, 1) / hostAlignment) * hostAlignment;
    this.#buffer = new ArrayBuffer(this.bytes + hostAlignment);
    const raw = koffi.address(this.#buffer);
    const skew = Number(raw % BigInt(hostAlignment));
    this.#offset = skew === 0 ? 0 : hostAlignment - skew;
    this.address = raw + BigInt(this.#offset);
  }

  u8(at = 0, length = this.bytes - at): Uint8Array {
    return new Uint8Array(this.#buffer, this.#offset + at, length);
  }
  u16(at = 0, length = (this.bytes - at) >> 1): Uint16Array {
    return new Uint16Array(this.#buffer, this.#offset + at, length);
  }
  i32(at = 0, length = (this.bytes - at) >> 2): Int32Array {
    return new Int32Array(this.#buffer, this.#offset + at, length);
  }
  f32(at = 0, length = (this.bytes - at) >> 2): Float32Array {
    return new Float32Array(this.#buffer, this.#offset + at, length);
  }
  /** 64-bit integers, as ggml's i64 tensors and struct fields hold them. */
  u64(at = 0, length = (this.bytes - at) >> 3): BigUint64Array {
    return new BigUint64Array(this.#buffer, this.#offset + at, length);
  }
}
