/** Devices that ggml's registry knows, and the kinds of memory they offer. */
import { koffi } from "@millrace/system";
import { addressOf } from "../fail.ts";
import type { NativeLibrary } from "../native/library.ts";
import { captureLog } from "../native/log.ts";
import type { Tensor } from "../tensor.ts";
import { Backend } from "./backend.ts";
import { TensorBuffer } from "./buffer.ts";

const kinds = ["cpu", "gpu", "integrated-gpu", "accelerator", "meta"] as const;
export type DeviceKind = (typeof kinds)[number];

/** A kind of memory: plain, pinned, or one that stores weights in another layout. */
export class BufferType {
  readonly library: NativeLibrary;
  readonly address: bigint;
  readonly name: string;
  readonly alignment: number;
  /** True when the CPU can read it by address. */
  readonly isHost: boolean;

  constructor(library: NativeLibrary, address: bigint) {
    this.library = library;
    this.address = address;
    const { base } = library;
    this.name = base.ggml_backend_buft_name(address) ?? "";
    this.alignment = base.ggml_backend_buft_get_alignment(address);
    this.isHost = base.ggml_backend_buft_is_host(address);
  }

  /** `bytes` of this memory; GGML_FAILED when there is not enough. */
  allocate(bytes: number): TensorBuffer {
    return captureLog(() =>
      TensorBuffer.adopt(
        this.library,
        this.library.base.ggml_backend_buft_alloc_buffer(this.address, bytes),
        `allocating ${bytes} bytes of ${this.name} memory`,
      ),
    );
  }

  /** Bytes a tensor takes in this memory. */
  bytesFor(tensor: Tensor): number {
    return this.library.base.ggml_backend_buft_get_alloc_size(this.address, tensor.address);
  }
}

export class Device {
  readonly library: NativeLibrary;
  readonly address: bigint;
  readonly name: string;
  readonly description: string;
  readonly kind: DeviceKind;

  constructor(library: NativeLibrary, address: bigint) {
    this.library = library;
    this.address = address;
    const { base } = library;
    this.name = base.ggml_backend_dev_name(address) ?? "";
    this.description = (base.ggml_backend_dev_description(address) ?? "").trim();
    this.kind = kinds[base.ggml_backend_dev_type(address)] ?? "accelerator";
  }

  /** Free and total memory, bytes. */
  memory(): { readonly freeBytes: number; readonly totalBytes: number } {
    const free = new BigUint64Array(1);
    const total = new BigUint64Array(1);
    this.library.base.ggml_backend_dev_memory(this.address, free, total);
    return { freeBytes: Number(free[0]), totalBytes: Number(total[0]) };
  }

  /** The device's plain memory. */
  get bufferType(): BufferType {
    const address = this.library.base.ggml_backend_dev_buffer_type(this.address);
    return new BufferType(this.library, addressOf(address, `memory of ${this.name}`));
  }

  /** Memory kinds of the CPU device that keep weights in a layout its kernels run faster on. */
  extraBufferTypes(): readonly BufferType[] {
    if (this.address !== this.library.cpuDevice) return [];
    const list = this.library.cpu.ggml_backend_dev_get_extra_bufts(this.address);
    const types: BufferType[] = [];
    if (list === null) return types;
    for (let at = 0; ; at += 8) {
      const entry = koffi.decode(list, at, "void *") as bigint | null;
      if (entry === null) return types;
      types.push(new BufferType(this.library, entry));
    }
  }

  /** Whether the device can compute `result`, an operation that is built but not computed. */
  supports(result: Tensor): boolean {
    return this.library.base.ggml_backend_dev_supports_op(this.address, result.address);
  }

  /** A stream of computation on the device. */
  open(): Backend {
    const address = captureLog(() =>
      addressOf(
        this.library.base.ggml_backend_dev_init(this.address, null),
        `opening the device ${this.name}`,
      ),
    );
    return new Backend(this.library, address, this.address === this.library.cpuDevice);
  }
}

/** Every device of the loaded back ends, in registry order. */
export function listDevices(library: NativeLibrary): readonly Device[] {
  const devices: Device[] = [];
  const count = library.registry.ggml_backend_dev_count();
  for (let i = 0; i < count; i++) {
    const address = library.registry.ggml_backend_dev_get(i);
    if (address !== null) devices.push(new Device(library, address));
  }
  return devices;
}
