/** Which way of mapping pages fits the device that computes. */
import { MillraceError } from "@millrace/core";
import type { EngineKvOptions } from "../contracts.ts";
import type { KvBackend } from "./index.ts";

/** Ordinal of a device that ggml names CUDA0, CUDA1 …; null for any other, the CPU by default. */
export function cudaOrdinal(device: string | undefined): number | null {
  const match = /^cuda(\d+)$/i.exec(device ?? "");
  return match === null ? null : Number(match[1]);
}

/**
 * The back end of a configuration; `mappable`: whether this system maps pages. Throws CONFIG_INVALID where device and back
 * end do not fit (a kernel can read only memory of its own device), and for kv.type paged.
 */
export function backendFor(
  kv: Pick<EngineKvOptions, "type" | "backend" | "prefixSharing">,
  device: string | undefined,
  mappable: boolean,
): KvBackend {
  if (kv.type === "paged")
    throw new MillraceError("CONFIG_INVALID", "the engine has no paged KV cache to serve from", {
      hint: "kv.type vattention; block tables are only the baseline that contiguous memory is measured against",
    });
  const onCuda = cudaOrdinal(device) !== null;
  if (kv.backend === "cuda" && !onCuda)
    throw new MillraceError(
      "CONFIG_INVALID",
      `kv.backend cuda needs a CUDA device, and the model is computed on ${device ?? "the CPU"}`,
      { hint: "add device: CUDA0, or leave kv.backend out" },
    );
  if (!onCuda && device !== undefined && device.toLowerCase() !== "cpu")
    throw new MillraceError("CONFIG_INVALID", `KV memory cannot be mapped on ${device}`, {
      hint: "executor ggml computes on the CPU or a CUDA device; leave device out",
    });
  if (onCuda) {
    if (kv.type === "static" || (kv.backend !== "auto" && kv.backend !== "cuda"))
      throw new MillraceError(
        "CONFIG_INVALID",
        `kv ${kv.type === "static" ? "static" : kv.backend} is host memory, which ${device} cannot read`,
        { hint: "kv.type vattention and kv.backend cuda, or leave both out" },
      );
    return "cuda";
  }
  if (kv.type === "static") return "plain";
  if (kv.backend !== "auto") return kv.backend;
  if (!mappable)
    throw new MillraceError("CONFIG_INVALID", "this system cannot map pages on demand", {
      hint: "kv.type static; vattention needs 64-bit Linux",
    });
  return kv.prefixSharing ? "memfd" : "madvise";
}
