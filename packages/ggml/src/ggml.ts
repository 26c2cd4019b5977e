/** The front door: loads and checks ggml once per process. */
import { Device, listDevices } from "./device/device.ts";
import { selfTest } from "./native/abi.ts";
import { type NativeLibrary, nativeLibrary } from "./native/library.ts";

export interface Ggml {
  readonly library: NativeLibrary;
  /** Version and commit of the libraries. */
  readonly version: string;
  readonly commit: string;
  /** Folder the libraries were loaded from. */
  readonly directory: string;
  readonly cpu: Device;
  /** Every device, the CPU included. */
  readonly devices: readonly Device[];
}

let loaded: Ggml | null = null;

/**
 * ggml, loaded and self-tested on first call (about 20 ms). Throws GGML_UNAVAILABLE when there are no libraries for this
 * machine and GGML_ABI_MISMATCH when they are of another version.
 */
export function loadGgml(): Ggml {
  if (loaded === null) {
    const library = nativeLibrary();
    selfTest(library);
    loaded = {
      library,
      version: library.base.ggml_version() ?? "unknown",
      commit: library.base.ggml_commit() ?? "unknown",
      directory: library.files.directory,
      cpu: new Device(library, library.cpuDevice),
      devices: listDevices(library),
    };
  }
  return loaded;
}
