import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, expect, it } from "vitest";
import { mappingCount } from "../limits/resident.ts";
import { mapFile } from "./mapped-file.ts";
import { maxViewBytes, memoryView } from "./view.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-map-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

it("maps a file without a copy", () => {
  using mapped = mapFile(file("a", "hello, file"));
  expect(mapped.bytes).toBe(11);
  expect(Buffer.from(mapped.buffer).toString()).toBe("hello, file");
  expect(Buffer.from(mapped.view(7, 4)).toString()).toBe("file");
  expect(new Uint8Array(memoryView(mapped.address + 7n, 1))[0]).toBe("f".charCodeAt(0));
  mapped.prefetch();
});

it("refuses ranges outside the file", () => {
  using mapped = mapFile(file("b", "1234"));
  expect(() => mapped.view(2, 3)).toThrow(/3 bytes at 2 of 4/);
  expect(() => mapped.view(-1, 1)).toThrow();
  expect(() => memoryView(0n, 1)).toThrow(/not an address/);
  expect(() => memoryView(4096n, maxViewBytes + 1)).toThrow(/exceed/);
});

it("says why a file cannot be mapped", () => {
  expect(() => mapFile(join(folder, "absent"))).toThrow(/absent: no such file or directory/);
  expect(() => mapFile(folder)).toThrow(/not a file/);
  expect(() => mapFile(file("empty", ""))).toThrow(/the file is empty/);
});

it("leaves neither descriptors nor mappings, and late reads harmless", async () => {
  const path = file("c", new Uint8Array(8192).fill(7));
  const descriptors = () => readdirSync("/proc/self/fd").length;
  closeSync(openSync(path, "r"));
  const open = descriptors();
  const before = mappingCount() ?? 0;
  let late: Uint8Array | null = null;
  for (let i = 0; i < 300; i++) {
    using mapped = mapFile(path);
    late = new Uint8Array(mapped.buffer);
    expect(late[8191]).toBe(7);
  }
  expect(late?.[8191]).toBe(0);
  expect(descriptors()).toBe(open);
  late = null;
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // Finalizers run in a turn of their own after a collection.
  for (let i = 0; i < 20 && (mappingCount() ?? 0) - before > 50; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect((mappingCount() ?? 0) - before).toBeLessThanOrEqual(50);
});
