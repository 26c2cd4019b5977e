/**
 * Memory of one CUDA device with addresses and pages apart (vAttention section 5): addresses are reserved, physical pages
 * are made, and a page can stand at several addresses. Arguments are checked: the driver answers a wrong address with an
 * error at best, and a kernel that reads an unmapped one loses the device.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { checkBytes } from "../memory/range.ts";
import { type CudaCalls, check, cudaDriver } from "./driver.ts";
import { accessDescription, allocationProperties } from "./structs.ts";

/** CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED. */
const ATTRIBUTE_VIRTUAL_MEMORY = 102;
/** CU_MEM_ALLOC_GRANULARITY_MINIMUM. */
const GRANULARITY_MINIMUM = 0;

/** What a device must offer for KV memory; the calls may be refused with MillraceError SYSTEM_CALL_FAILED. */
export interface DeviceMemory extends Disposable {
  /** Sizes and addresses of pages are multiples of it (2 MiB on NVIDIA). */
  readonly granularityBytes: number;
  /** Addresses without memory behind them. */
  reserve(bytes: number): bigint;
  /** Gives a whole reservation back; nothing may be mapped in it. */
  free(address: bigint, bytes: number): void;
  /** A physical page; its bytes are whatever was there before. */
  create(bytes: number): bigint;
  /** The same off the event loop. */
  createAsync(bytes: number): Promise<bigint>;
  /** Lets go of a page: its memory is free once it is mapped nowhere. */
  release(handle: bigint): void;
  /** Puts a whole page at a reserved address where nothing is mapped, readable and writable. */
  map(address: bigint, bytes: number, handle: bigint): void;
  /** Takes away what one `map` put there. No work of the device may still use it. */
  unmap(address: bigint, bytes: number): void;
  /** Fills mapped bytes with 0 and waits until they are. */
  clear(address: bigint, bytes: number): void;
}

/** A device as the driver describes it. */
export interface CudaDeviceInfo {
  readonly ordinal: number;
  readonly name: string;
  readonly totalBytes: number;
  /** Whether addresses and pages can be handled apart. */
  readonly virtualMemory: boolean;
}

/** The devices this process may use. Throws as `cudaDriver`. */
export function cudaDevices(): readonly CudaDeviceInfo[] {
  const { calls, deviceCount } = cudaDriver();
  return Array.from({ length: deviceCount }, (_, ordinal) => describe(calls, ordinal));
}

function describe(calls: CudaCalls, ordinal: number): CudaDeviceInfo {
  const number = new Int32Array(1);
  check("cuDeviceGet", calls.cuDeviceGet(number, ordinal), `${ordinal}`);
  const device = number[0] as number;
  const name = new Uint8Array(256);
  check("cuDeviceGetName", calls.cuDeviceGetName(name, name.length, device));
  const total = new BigUint64Array(1);
  check("cuDeviceTotalMem", calls.cuDeviceTotalMem_v2(total, device));
  const attribute = calls.cuDeviceGetAttribute(number, ATTRIBUTE_VIRTUAL_MEMORY, device);
  check("cuDeviceGetAttribute", attribute);
  return {
    ordinal,
    name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
    totalBytes: Number(total[0]),
    virtualMemory: number[0] === 1,
  };
}

/** The memory of a real device. Shares the device's primary context with ggml, which the CUDA runtime uses too. */
export class CudaDeviceMemory implements DeviceMemory {
  readonly granularityBytes: number;
  readonly #calls: CudaCalls;
  readonly #device: number;
  readonly #context: bigint;
  readonly #properties: Uint8Array<ArrayBuffer>;
  readonly #access: Uint8Array<ArrayBuffer>;
  #open = true;

  /** Throws ENVIRONMENT_MISSING (no driver), CONFIG_INVALID (no such device), SYSTEM_UNSUPPORTED (no virtual memory). */
  constructor(ordinal: number) {
    const { calls, deviceCount } = cudaDriver();
    if (ordinal < 0 || ordinal >= deviceCount || !Number.isInteger(ordinal))
      throw new MillraceError(
        "CONFIG_INVALID",
        `there is no CUDA device ${ordinal} among ${deviceCount}`,
        { hint: "CUDA_VISIBLE_DEVICES decides which devices a process sees, and renumbers them" },
      );
    const info = describe(calls, ordinal);
    if (!info.virtualMemory)
      throw new MillraceError("SYSTEM_UNSUPPORTED", `${info.name} has no virtual memory calls`, {
        hint: "take a GPU and a driver of CUDA 11.2 or later, or compute on the CPU",
      });
    this.#calls = calls;
    const number = new Int32Array(1);
    check("cuDeviceGet", calls.cuDeviceGet(number, ordinal), `${ordinal}`);
    this.#device = number[0] as number;
    this.#properties = allocationProperties(this.#device);
    this.#access = accessDescription(this.#device);
    const word = new BigUint64Array(1);
    check("cuDevicePrimaryCtxRetain", calls.cuDevicePrimaryCtxRetain(word, this.#device));
    this.#context = word[0] as bigint;
    check(
      "cuMemGetAllocationGranularity",
      calls.cuMemGetAllocationGranularity(word, this.#properties, GRANULARITY_MINIMUM),
    );
    this.granularityBytes = Number(word[0]);
  }

  /** Bytes of the device that nobody uses. */
  freeBytes(): number {
    const words = [new BigUint64Array(1), new BigUint64Array(1)] as const;
    this.#within(() => check("cuMemGetInfo", this.#calls.cuMemGetInfo_v2(...words)));
    return Number(words[0][0]);
  }

  reserve(bytes: number): bigint {
    this.#whole(bytes, "reserve");
    const address = new BigUint64Array(1);
    this.#within(() =>
      check(
        "cuMemAddressReserve",
        this.#calls.cuMemAddressReserve(address, bytes, this.granularityBytes, 0n, 0n),
        `${bytes} bytes`,
      ),
    );
    return address[0] as bigint;
  }

  free(address: bigint, bytes: number): void {
    this.#place(address, bytes, "free");
    this.#within(() => check("cuMemAddressFree", this.#calls.cuMemAddressFree(address, bytes)));
  }

  create(bytes: number): bigint {
    this.#whole(bytes, "create");
    const handle = new BigUint64Array(1);
    this.#within(() =>
      check(
        "cuMemCreate",
        this.#calls.cuMemCreate(handle, bytes, this.#properties, 0n),
        `${bytes} bytes`,
      ),
    );
    return handle[0] as bigint;
  }

  async createAsync(bytes: number): Promise<bigint> {
    this.#whole(bytes, "create");
    const handle = new BigUint64Array(1);
    const properties = this.#properties;
    const result = await new Promise<number>((resolve, reject) => {
      this.#calls.cuMemCreate.async(handle, bytes, properties, 0n, (error, code) =>
        error ? reject(error) : resolve(code),
      );
    });
    // Contexts belong to threads: asking again on this one gives the reason, or succeeds.
    return result === 0 ? (handle[0] as bigint) : this.create(bytes);
  }

  release(handle: bigint): void {
    this.#within(() => check("cuMemRelease", this.#calls.cuMemRelease(handle)));
  }

  map(address: bigint, bytes: number, handle: bigint): void {
    this.#place(address, bytes, "map");
    this.#within(() => {
      check("cuMemMap", this.#calls.cuMemMap(address, bytes, 0, handle, 0n), `${bytes} bytes`);
      // Every new mapping begins without access.
      const allowed = this.#calls.cuMemSetAccess(address, bytes, this.#access, 1);
      if (allowed !== 0) this.#calls.cuMemUnmap(address, bytes);
      check("cuMemSetAccess", allowed, `${bytes} bytes`);
    });
  }

  unmap(address: bigint, bytes: number): void {
    this.#place(address, bytes, "unmap");
    this.#within(() => check("cuMemUnmap", this.#calls.cuMemUnmap(address, bytes)));
  }

  clear(address: bigint, bytes: number): void {
    checkBytes(bytes, "clear");
    this.#within(() => {
      check("cuMemsetD8", this.#calls.cuMemsetD8_v2(address, 0, bytes));
      // ggml's streams do not wait for the default one, on which this ran.
      check("cuStreamSynchronize", this.#calls.cuStreamSynchronize(0n));
    });
  }

  /** Copies host bytes to the device, and back: for tests and for looking into a cache. */
  write(address: bigint, bytes: Uint8Array): void {
    this.#within(() =>
      check("cuMemcpyHtoD", this.#calls.cuMemcpyHtoD_v2(address, bytes, bytes.length)),
    );
  }

  read(address: bigint, bytes: number): Uint8Array {
    checkBytes(bytes, "read");
    const out = new Uint8Array(bytes);
    this.#within(() => check("cuMemcpyDtoH", this.#calls.cuMemcpyDtoH_v2(out, address, bytes)));
    return out;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    check(
      "cuDevicePrimaryCtxRelease",
      this.#calls.cuDevicePrimaryCtxRelease_v2(this.#device),
      `device ${this.#device}`,
    );
  }

  /** Runs with the device's context on this thread, and leaves the thread as it was. */
  #within(body: () => void): void {
    if (!this.#open) throw new InvariantError("the device memory was disposed");
    check("cuCtxPushCurrent", this.#calls.cuCtxPushCurrent_v2(this.#context));
    try {
      body();
    } finally {
      this.#calls.cuCtxPopCurrent_v2(new BigUint64Array(1));
    }
  }

  #whole(bytes: number, what: string): void {
    checkBytes(bytes, what);
    if (bytes % this.granularityBytes !== 0)
      throw new InvariantError(`${what}: ${bytes} is no multiple of ${this.granularityBytes}`);
  }

  #place(address: bigint, bytes: number, what: string): void {
    this.#whole(bytes, what);
    if (address <= 0n || address % BigInt(this.granularityBytes) !== 0n)
      throw new InvariantError(`${what}: ${address} is no page's address`);
  }
}
