/**
 * The one copy of ggml in this process. Everything native in this package (ggml, gguf, llama) takes its libraries from
 * here, so that contexts, back ends and buffers of one part are known to the others.
 */
import { MillraceError } from "@millrace/core";
import { asyncStackBytes, koffi } from "@millrace/system";
import type { LibraryHandle } from "koffi";
import { baseTable, cpuTable, registryTable } from "./functions.ts";
import { type LibraryFiles, locateLibraries } from "./locate.ts";
import { addLog, captureLog } from "./log.ts";
import { type Bound, bind, bindAddress, type NativeFunction } from "./signatures.ts";

/** ggml_init takes its parameters by value. */
type InitFunction = (parameters: {
  mem_size: number;
  mem_buffer: bigint;
  no_alloc: boolean;
}) => bigint | null;

export interface NativeLibrary {
  readonly files: LibraryFiles;
  readonly base: Bound<typeof baseTable>;
  readonly registry: Bound<typeof registryTable>;
  /** Functions of the CPU variant that ggml's registry chose for this machine. */
  readonly cpu: Bound<typeof cpuTable>;
  readonly cpuDevice: bigint;
  readonly init: InitFunction;
  /** libllama of the same folder, loaded on first use; its log is silenced like ggml's. */
  llama(): LibraryHandle;
}

const cpuDeviceType = 0;

function open(path: string): LibraryHandle {
  try {
    return koffi.load(path);
  } catch (cause) {
    throw new MillraceError("GGML_UNAVAILABLE", `the library ${path} cannot be loaded`, {
      hint: "it needs glibc 2.35 or newer and libstdc++; `ldd` on the file shows what is missing",
      cause,
    });
  }
}

function bindAll<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    throw new MillraceError("GGML_ABI_MISMATCH", `${path} lacks a function this version needs`, {
      hint: "use the libraries of llama.cpp v0.5.0 (@node-llama-cpp packages 3.22.1)",
      cause,
    });
  }
}

function cpuFunctions(base: NativeLibrary["base"], device: bigint): Bound<typeof cpuTable> {
  const entry = base.ggml_backend_dev_backend_reg(device);
  const bound: Record<string, unknown> = {};
  for (const [name, signature] of Object.entries(cpuTable)) {
    const address = base.ggml_backend_reg_get_proc_address(entry, name);
    if (address === null)
      throw new MillraceError("GGML_ABI_MISMATCH", `the CPU back end does not offer ${name}`, {
        hint: "use the libraries of llama.cpp v0.5.0 (@node-llama-cpp packages 3.22.1)",
      });
    bound[name] = bindAddress(address, signature) as NativeFunction<typeof signature>;
  }
  return bound as Bound<typeof cpuTable>;
}

function load(): NativeLibrary {
  const stack = koffi.config().async_stack_size ?? 0;
  if (stack < asyncStackBytes)
    throw new MillraceError(
      "GGML_UNAVAILABLE",
      `another module loaded a native library first and left asynchronous calls ${stack} bytes of stack`,
      { hint: "take koffi from @millrace/system instead of importing it directly" },
    );
  const files = locateLibraries(process.platform, process.arch, process.env.MILLRACE_GGML_DIR);
  const baseHandle = open(files.base);
  const base = bindAll(files.base, () => bind(baseHandle, baseTable));
  // ggml_time_init has no arguments and does nothing of note: a native log function that drops everything.
  const noop = baseHandle.symbol("ggml_time_init") as bigint;
  addLog((callback, data) => base.ggml_log_set(callback, data), noop);
  const ggmlHandle = open(files.ggml);
  const registry = bindAll(files.ggml, () => bind(ggmlHandle, registryTable));
  // A second registration would list every device twice.
  if (registry.ggml_backend_reg_count() === 0)
    captureLog(() => registry.ggml_backend_load_all_from_path(files.directory));
  const cpuDevice = registry.ggml_backend_dev_by_type(cpuDeviceType);
  if (cpuDevice === null)
    throw new MillraceError("GGML_UNAVAILABLE", `${files.directory} holds no CPU back end`, {
      hint: "the folder must hold the libggml-cpu-* libraries of the same build",
    });
  const parameters = koffi.struct({ mem_size: "size_t", mem_buffer: "void *", no_alloc: "bool" });
  const init = baseHandle.func("ggml_init", "void *", [parameters]) as unknown as InitFunction;
  let llama: LibraryHandle | null = null;
  return {
    files,
    base,
    registry,
    cpu: cpuFunctions(base, cpuDevice),
    cpuDevice,
    init,
    llama() {
      if (llama === null) {
        llama = open(files.llama);
        const { llama_log_set } = bind(llama, { llama_log_set: ["void", "ptr", "ptr"] });
        addLog((callback, data) => llama_log_set(callback, data), noop);
      }
      return llama;
    },
  };
}

// Kept on globalThis: a module may be instantiated twice in one process (source and dist), the libraries may not.
const slot = globalThis as { [key: symbol]: unknown };
const key = Symbol.for("@millrace/ggml/library");

/** The libraries of this process, loaded on first call. Throws GGML_UNAVAILABLE or GGML_ABI_MISMATCH. */
export function nativeLibrary(): NativeLibrary {
  slot[key] ??= load();
  return slot[key] as NativeLibrary;
}
