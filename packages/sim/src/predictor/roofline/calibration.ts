/** Fitted coefficients of a device, and which of them apply to a device that was never measured. */

import type { FitError } from "@millrace/serving";
import { findDevice } from "../../catalogue/devices.ts";
import type { DeviceSpec } from "../../types.ts";
import { calibrations } from "./coefficients.ts";
import type { GemmCoefficients, Residuals } from "./gemm.ts";

/** Operators whose time follows the bytes they move. */
export type Elementwise = "norm" | "add" | "act" | "rope" | "emb" | "kv_save";

/** Seconds of an operator: overhead + bytes / (memory bandwidth * efficiency). */
export interface ByteCoefficients {
  readonly overhead: number;
  readonly efficiency: number;
}

/** Seconds of a collective: overhead + bytes on the wire of one device / rate. */
export interface LinkFit {
  readonly workers: number;
  /** Devices of the group in one server. */
  readonly perServer: number;
  readonly overhead: number;
  /** Bytes per second. */
  readonly rate: number;
}

export interface AttentionCoefficients {
  readonly decode: ByteCoefficients;
  readonly prefill: {
    readonly overhead: number;
    /** Share of the tensor peak. */
    readonly efficiency: number;
    /** Share of the bandwidth at which the chunk's KV is read. */
    readonly kvEfficiency: number;
    /** The kernel skips what the causal mask hides (half of a chunk against itself). */
    readonly skipsMasked: boolean;
  };
}

/** Everything known about one device. Made by tools/fit-roofline.ts. */
export interface DeviceCalibration {
  readonly device: string;
  readonly provenance: string;
  readonly gemm: GemmCoefficients;
  readonly residuals: Residuals | null;
  readonly elementwise: Readonly<Record<Elementwise, ByteCoefficients>>;
  readonly attention: AttentionCoefficients;
  readonly allReduce: readonly LinkFit[];
  readonly sendRecv: readonly LinkFit[];
  /** Terms of this device taken from elsewhere, each with its origin. */
  readonly unfitted: readonly string[];
  /** Errors in percent; products are held out by model and TP. */
  readonly errors: Readonly<Record<string, FitError>>;
}

/** A calibration as it applies to a device. */
export interface AppliedCalibration {
  readonly base: DeviceCalibration;
  readonly unfitted: readonly string[];
  /** Link speeds of the device over those of the calibrated one, within a server and between servers. */
  readonly linkScale: number;
  readonly networkScale: number;
}

/**
 * The calibration of the device itself, or that of the fitted device with the nearest peak and bandwidth: its shares of
 * peak then apply to the device's own figures, and its overheads as they are.
 */
export function calibrationFor(device: DeviceSpec): AppliedCalibration {
  const own = calibrations.find((c) => c.device === device.name);
  if (own !== undefined)
    return { base: own, unfitted: own.unfitted, linkScale: 1, networkScale: 1 };
  let base = calibrations[0] as DeviceCalibration;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of calibrations) {
    const spec = findDevice(candidate.device);
    const distance = Math.hypot(
      Math.log(spec.tflops / device.tflops),
      Math.log(spec.memoryBandwidth / device.memoryBandwidth),
    );
    if (distance < least) {
      least = distance;
      base = candidate;
    }
  }
  const spec = findDevice(base.device);
  return {
    base,
    unfitted: [`${device.name}: all shares of peak and overheads taken from ${base.device}`],
    linkScale: device.linkBandwidth / spec.linkBandwidth,
    networkScale: device.networkBandwidth / spec.networkBandwidth,
  };
}

/** The fitted group nearest to `workers` devices, `within` one server or across servers. */
export function nearestLink(
  fits: readonly LinkFit[],
  workers: number,
  within: boolean,
): LinkFit | null {
  let best: LinkFit | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const fit of fits) {
    if ((fit.perServer === fit.workers) !== within) continue;
    const distance = Math.abs(Math.log2(fit.workers / workers));
    if (distance < least) {
      least = distance;
      best = fit;
    }
  }
  return best;
}
