/**
 * The CUDA driver (libcuda.so.1), bound when it is first asked for: a machine without one loses nothing until it wants a
 * GPU. Only what virtual memory takes is bound; computing is ggml's. Which page goes where is decided above.
 */
import { MillraceError } from "@millrace/core";
import { koffi } from "../foreign.ts";

/** Output parameters are typed arrays; addresses and handles are bigint, CUdevice and CUresult are int. */
const signatures = {
  cuInit: ["uint"],
  cuDriverGetVersion: ["void *"],
  cuDeviceGetCount: ["void *"],
  cuDeviceGet: ["void *", "int"],
  cuDeviceGetName: ["void *", "int", "int"],
  cuDeviceGetAttribute: ["void *", "int", "int"],
  cuDeviceTotalMem_v2: ["void *", "int"],
  cuDevicePrimaryCtxRetain: ["void *", "int"],
  cuDevicePrimaryCtxRelease_v2: ["int"],
  cuCtxPushCurrent_v2: ["uintptr_t"],
  cuCtxPopCurrent_v2: ["void *"],
  cuStreamSynchronize: ["uintptr_t"],
  cuMemGetInfo_v2: ["void *", "void *"],
  cuMemGetAllocationGranularity: ["void *", "void *", "int"],
  cuMemAddressReserve: ["void *", "size_t", "size_t", "uint64_t", "uint64_t"],
  cuMemAddressFree: ["uint64_t", "size_t"],
  cuMemCreate: ["void *", "size_t", "void *", "uint64_t"],
  cuMemRelease: ["uint64_t"],
  cuMemMap: ["uint64_t", "size_t", "size_t", "uint64_t", "uint64_t"],
  cuMemUnmap: ["uint64_t", "size_t"],
  cuMemSetAccess: ["uint64_t", "size_t", "void *", "size_t"],
  cuMemsetD8_v2: ["uint64_t", "uint8_t", "size_t"],
  cuMemcpyHtoD_v2: ["uint64_t", "void *", "size_t"],
  cuMemcpyDtoH_v2: ["void *", "uint64_t", "size_t"],
} as const;

type Argument = number | bigint | ArrayBufferView;

/** A call of the driver: at once, or on a thread of libuv's pool. The result is a CUresult. */
export interface CudaCall {
  (...args: readonly Argument[]): number;
  readonly async: (
    ...args: readonly [...Argument[], (error: unknown, result: number) => void]
  ) => void;
}

export type CudaCalls = { readonly [name in keyof typeof signatures]: CudaCall };

export interface CudaDriver {
  readonly calls: CudaCalls;
  /** Of the driver, e.g. "13.0". */
  readonly version: string;
  readonly deviceCount: number;
}

const LIBRARY = "libcuda.so.1";
const remedy =
  "a CUDA GPU needs NVIDIA's driver on the machine (in a container: the NVIDIA container toolkit and --gpus all); on a CPU leave kv.backend and device out";

let loaded: CudaDriver | undefined;

/**
 * The driver, initialised on first call. Throws MillraceError ENVIRONMENT_MISSING where there is none, where it is older
 * than virtual memory (CUDA 11.2) or where it finds no device.
 */
export function cudaDriver(): CudaDriver {
  loaded ??= open();
  return loaded;
}

function open(): CudaDriver {
  if (process.platform !== "linux")
    throw missing(`CUDA memory is mapped on Linux only, and this is ${process.platform}`);
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load(LIBRARY);
  } catch (cause) {
    throw missing(`the CUDA driver ${LIBRARY} is not on this machine`, cause);
  }
  const bound: Partial<Record<keyof CudaCalls, CudaCall>> = {};
  for (const [name, args] of Object.entries(signatures)) {
    try {
      bound[name as keyof CudaCalls] = library.func(name, "int", [...args]) as unknown as CudaCall;
    } catch (cause) {
      throw missing(`the CUDA driver lacks ${name}; 11.2 is the first that has all`, cause);
    }
  }
  const calls = bound as CudaCalls;
  const started = calls.cuInit(0);
  if (started !== 0) throw missing(`the CUDA driver cannot start: ${cudaResultName(started)}`);
  const number = new Int32Array(1);
  check("cuDriverGetVersion", calls.cuDriverGetVersion(number));
  const version = number[0] as number;
  check("cuDeviceGetCount", calls.cuDeviceGetCount(number));
  return {
    calls,
    version: `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`,
    deviceCount: number[0] as number,
  };
}

function missing(message: string, cause?: unknown): MillraceError {
  return new MillraceError("ENVIRONMENT_MISSING", message, {
    hint: remedy,
    ...(cause !== undefined && { cause }),
  });
}

/** Names of the CUresults that memory calls and starting give. */
const resultNames: Readonly<Record<number, string>> = {
  1: "CUDA_ERROR_INVALID_VALUE",
  2: "CUDA_ERROR_OUT_OF_MEMORY",
  3: "CUDA_ERROR_NOT_INITIALIZED",
  4: "CUDA_ERROR_DEINITIALIZED",
  34: "CUDA_ERROR_STUB_LIBRARY",
  46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
  100: "CUDA_ERROR_NO_DEVICE",
  101: "CUDA_ERROR_INVALID_DEVICE",
  201: "CUDA_ERROR_INVALID_CONTEXT",
  304: "CUDA_ERROR_OPERATING_SYSTEM",
  700: "CUDA_ERROR_ILLEGAL_ADDRESS",
  800: "CUDA_ERROR_NOT_PERMITTED",
  801: "CUDA_ERROR_NOT_SUPPORTED",
  802: "CUDA_ERROR_SYSTEM_NOT_READY",
  803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
  804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
  999: "CUDA_ERROR_UNKNOWN",
};

export function cudaResultName(result: number): string {
  return resultNames[result] ?? `CUresult ${result}`;
}

const hints: Readonly<Record<number, string>> = {
  2: "the device has no free memory: give kv.memory a smaller size, or end what else runs on it",
  101: "CUDA_VISIBLE_DEVICES decides which devices a process sees, and renumbers them",
  700: "an earlier kernel read memory that was not mapped; the device is lost to this process",
};

/** Throws MillraceError SYSTEM_CALL_FAILED unless the result is CUDA_SUCCESS. */
export function check(call: string, result: number, detail = ""): void {
  if (result === 0) return;
  const hint = hints[result];
  throw new MillraceError(
    "SYSTEM_CALL_FAILED",
    `${call}(${detail}) failed: ${cudaResultName(result)}`,
    hint === undefined ? {} : { hint },
  );
}
