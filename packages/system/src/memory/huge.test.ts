import { readFileSync } from "node:fs";
import { wasm } from "@millrace/core";
import { expect, test } from "vitest";
import { adviseHuge, pageBytes } from "../index.ts";

const KiB = 1024;

/** KiB of this process that may be in huge pages. */
function advised(): number {
  let size = 0;
  let sum = 0;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    size = Number(/^Size: +(\d+) kB/.exec(line)?.[1] ?? size);
    if (/^VmFlags:.* hg\b/.test(line)) sum += size;
  }
  return sum;
}

test.runIf(process.platform === "linux")(
  "whole pages of a range ask for huge ones; contents stay",
  () => {
    const page = pageBytes();
    const memory = new wasm.Memory({ initial: 64, maximum: 64, shared: true });
    const all = new Uint8Array(memory.buffer);
    all.fill(7);
    const before = advised();
    if (!adviseHuge(all.subarray(100, 40 * page))) return; // A kernel without huge pages says no.
    expect(advised() - before).toBe((39 * page) / KiB);
    expect(all.every((value) => value === 7)).toBe(true);
    // Less than a page has none that is its own.
    expect(adviseHuge(all.subarray(10, 20))).toBe(false);
  },
);
