import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wasm } from "@millrace/core";
import { afterAll, expect, test } from "vitest";
import { mappedMemorySupported, overlayFile, pageBytes } from "../index.ts";

const folder = mkdtempSync(join(tmpdir(), "overlay-"));
afterAll(() => rmSync(folder, { recursive: true }));

test.runIf(mappedMemorySupported())(
  "a file lies where memory of WebAssembly was; writes do not reach it, and what is around stays",
  () => {
    const page = pageBytes();
    const memory = new wasm.Memory({ initial: 4, maximum: 64, shared: true });
    const all = () => new Uint8Array(memory.buffer);
    all().fill(7);
    const path = join(folder, "bytes");
    const bytes = Uint8Array.from({ length: page + 100 }, (_, i) => i % 251);
    writeFileSync(path, bytes);
    expect(overlayFile(all().subarray(page, 2 * page + 100), path)).toBe(true);
    expect(all().slice(page, 2 * page + 100)).toEqual(bytes);
    // The rest of the last page is the file's, and zero.
    expect(all()[2 * page + 100]).toBe(0);
    expect([all()[page - 1], all()[3 * page]]).toEqual([7, 7]);
    all()[page] = 99;
    expect(readFileSync(path)[0]).toBe(0);
    memory.grow(1);
    expect(all()[page]).toBe(99);
    expect(all()[page + 1]).toBe(1);
  },
);

test.runIf(mappedMemorySupported())("what cannot be mapped is left alone", () => {
  const page = pageBytes();
  const memory = new wasm.Memory({ initial: 1, maximum: 1, shared: true });
  const all = new Uint8Array(memory.buffer);
  const path = join(folder, "small");
  writeFileSync(path, new Uint8Array(100).fill(1));
  expect(overlayFile(all.subarray(8, 108), path)).toBe(false);
  expect(overlayFile(all.subarray(page, page + 99), path)).toBe(false);
  expect(overlayFile(all.subarray(0, 0), path)).toBe(false);
  expect(overlayFile(new Uint8Array(new ArrayBuffer(100)), path)).toBe(false);
  expect(all.every((byte) => byte === 0)).toBe(true);
});
