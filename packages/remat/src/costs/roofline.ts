/** Roofline costs: an implementation takes what its arithmetic or its traffic takes, whichever is longer, and its launches. */
import { didYouMean, MillraceError } from "@millrace/core";
import type { CostModel, Work, WorkClass } from "../graph/library.ts";

/** A device as far as a roofline knows it. */
export interface RooflineDevice {
  readonly name: string;
  readonly label: string;
  /** Peak arithmetic, flop/s, of 32-bit and of 16-bit training. */
  readonly flops32: number;
  readonly flops16: number;
  /** Bytes per second of device memory. */
  readonly bandwidth: number;
  readonly memoryBytes: number;
  /** Seconds that a kernel launch costs when nothing else hides it. */
  readonly launchSeconds: number;
}

const device = (
  name: string,
  label: string,
  teraflops32: number,
  teraflops16: number,
  gigabytesPerSecond: number,
  gibibytes: number,
  launchSeconds = 4e-6,
): RooflineDevice => ({
  name,
  label,
  flops32: teraflops32 * 1e12,
  flops16: teraflops16 * 1e12,
  bandwidth: gigabytesPerSecond * 1e9,
  memoryBytes: gibibytes * 2 ** 30,
  launchSeconds,
});

/** Vendors' data sheets: FP32 without tensor cores, FP16 with them. */
export const rooflineDevices: readonly RooflineDevice[] = [
  device("p100", "NVIDIA P100 PCIe 16 GB", 9.3, 18.7, 732, 16),
  device("v100", "NVIDIA V100 SXM2 16 GB", 15.7, 125, 900, 16),
  device("t4", "NVIDIA T4", 8.1, 65, 320, 16),
  device("a30", "NVIDIA A30", 10.3, 165, 933, 24),
  device("a100", "NVIDIA A100 40 GB", 19.5, 312, 1555, 40),
  device("h100", "NVIDIA H100 SXM", 67, 989, 3350, 80),
  device("cpu", "2 cores of a server CPU", 0.08, 0.08, 15, 16, 2e-6),
];

/** Share of the peak that well-written kernels reach. */
const reached: Readonly<Record<WorkClass, number>> = {
  matrix: 0.7,
  convolution: 0.55,
  memory: 0.5,
};
const reachedBandwidth = 0.8;

/** Seconds of some work on a device. */
export function rooflineSeconds(of: RooflineDevice, work: Work, half: boolean): number {
  const peak = (half ? of.flops16 : of.flops32) * reached[work.class] * (work.efficiency ?? 1);
  const traffic = of.bandwidth * reachedBandwidth;
  return Math.max(work.flops / peak, work.bytes / traffic) + (work.kernels ?? 1) * of.launchSeconds;
}

/** The cost model of a device by name. Throws MillraceError DEVICE_UNKNOWN. */
export function rooflineCosts(name: string): CostModel & { readonly device: RooflineDevice } {
  const found = rooflineDevices.find((candidate) => candidate.name === name);
  if (found === undefined) {
    const names = rooflineDevices.map((candidate) => candidate.name);
    const near = didYouMean(name, names);
    throw new MillraceError("DEVICE_UNKNOWN", `no roofline of a device ${JSON.stringify(name)}`, {
      hint: `${near === null ? "" : `did you mean ${near}? `}there are ${names.join(", ")}`,
    });
  }
  return {
    name: `roofline of ${found.label}`,
    device: found,
    seconds: (graph, _operator, _direction, implementation) =>
      rooflineSeconds(found, implementation.work, graph.type !== "f32"),
  };
}
