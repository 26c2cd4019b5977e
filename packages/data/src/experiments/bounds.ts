/** How this machine lets an experiment bound memory and storage, and what it must emulate instead. */
import { cpus, totalmem } from "node:os";
import { blockDeviceOf, ControlGroup, namespacesSupported } from "@millrace/system";
import { decoderInUse } from "../prep/decoder.ts";
import type { StorageModel } from "../storage/emulated-storage.ts";

/** What is possible here. */
export interface Bounds {
  /** Memory (page cache included) of a group of processes. */
  readonly memory: boolean;
  /** `major:minor` whose reads a group can be held to; null: storage is emulated. */
  readonly device: string | null;
  readonly namespaces: boolean;
  /** Why not, where not. */
  readonly reasons: readonly string[];
}

/** Tries it out, on the device that holds `path`. */
export function probeBounds(path: string): Bounds {
  const reasons: string[] = [];
  const works = (controllers: readonly ("memory" | "io")[], device?: string): boolean => {
    try {
      using group = ControlGroup.make(`millrace-probe-${process.pid}`, controllers);
      if (device !== undefined) group.limitReads(device, { bytesPerSecond: 1e9 });
      return true;
    } catch (error) {
      reasons.push((error as Error).message);
      return false;
    }
  };
  const memory = works(["memory"]);
  const device = blockDeviceOf(path);
  if (device === null) reasons.push(`${path} is on no block device`);
  const throttled = device !== null && works(["io"], device);
  return { memory, device: throttled ? device : null, namespaces: namespacesSupported(), reasons };
}

/** The machine in words and numbers, for reports. */
export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly hostMemoryBytes: number;
  readonly node: string;
  /** What decodes JPEG here. */
  readonly decoder: string;
}

export function machineFacts(): MachineFacts {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    hostMemoryBytes: totalmem(),
    node: process.version,
    decoder: decoderInUse(),
  };
}

/** How storage was held to a speed. */
export interface StorageUsed extends StorageModel {
  /** throttled: the kernel's block layer delays reads of a real device; emulated: a token bucket in the reader. */
  readonly kind: "throttled" | "emulated";
}

/** Holds the group's reads to the model: bytes and operations; latency is the device's own. */
export function throttle(group: ControlGroup, device: string, model: StorageModel): void {
  const { bytesPerSecond, operationsPerSecond } = model;
  group.limitReads(device, {
    ...(bytesPerSecond < 1e12 && { bytesPerSecond: Math.round(bytesPerSecond) }),
    ...(operationsPerSecond !== undefined && {
      operationsPerSecond: Math.round(operationsPerSecond),
    }),
  });
}
