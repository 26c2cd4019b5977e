/** Which of the CPU libraries ggml's registry chose for this machine, and what it was built to use. */

import { koffi, loadedLibraries } from "@millrace/system";
import type { NativeLibrary } from "./library.ts";

export interface CpuVariant {
  /** File name of the library; null where the system does not tell what is loaded. */
  readonly file: string | null;
  /** Instruction sets and kernels it uses, as ggml names them, e.g. AVX512 or REPACK. */
  readonly features: readonly string[];
}

/** Reads the list of { name, value } pairs that the back end keeps; a null name ends it. */
export function cpuVariant(library: NativeLibrary): CpuVariant {
  const entry = library.base.ggml_backend_dev_backend_reg(library.cpuDevice);
  const list = library.cpu.ggml_backend_get_features(entry);
  const features: string[] = [];
  for (let at = 0; list !== null; at += 16) {
    const name = koffi.decode(list, at, "const char *") as string | null;
    if (name === null) break;
    if (koffi.decode(list, at + 8, "const char *") !== "0") features.push(name);
  }
  const file = loadedLibraries().find((path) => /(^|[/\\])(lib)?ggml-cpu[^/\\]*$/.test(path));
  return { file: file?.replace(/^.*[/\\]/, "") ?? null, features };
}
