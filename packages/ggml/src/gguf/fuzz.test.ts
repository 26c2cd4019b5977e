import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { parseGguf } from "./parse.ts";
import { countingTensor, sampleMetadata } from "./sample.conformance.ts";
import { writeGguf } from "./write/write-gguf.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-gguf-fuzz-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "sample.gguf");
writeGguf(path, sampleMetadata, [countingTensor("one", [4, 3]), countingTensor("two", [9])]);
const whole = new Uint8Array(readFileSync(path));

/** Parses and reads everything; damaged files may only be refused with GGUF_INVALID. */
function survive(bytes: Uint8Array): void {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const header = parseGguf("damaged.gguf", view, bytes.length);
    for (const key of header.metadata.keys) {
      const type = header.metadata.describe(key) ?? "";
      if (type.startsWith("string[")) header.metadata.strings(key);
      else if (type.endsWith("]")) header.metadata.numbers(key);
    }
    for (const tensor of header.tensors) {
      expect(tensor.offset + tensor.bytes).toBeLessThanOrEqual(bytes.length);
      expect(tensor.offset % header.alignment).toBe(0);
    }
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    expect(error.code).toBe("GGUF_INVALID");
    expect(error.message).toContain("damaged.gguf");
  }
}

const interesting = [0, 1, 2, 9, 13, 0x7f, 0x80, 0xff];

it("survives any damaged bytes", () => {
  const damage = fc.array(
    fc.tuple(
      fc.nat(whole.length - 1),
      fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...interesting)),
    ),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(damage, (changes) => {
      const bytes = whole.slice();
      for (const [at, value] of changes) bytes[at] = value;
      survive(bytes);
    }),
    { numRuns: 3000 },
  );
});

it("survives huge 64-bit fields at every place", () => {
  for (let at = 4; at + 8 <= whole.length; at++)
    for (const value of [2n ** 64n - 1n, 2n ** 63n, 2n ** 53n, 2n ** 32n, BigInt(whole.length)]) {
      const bytes = whole.slice();
      new DataView(bytes.buffer).setBigUint64(at, value, true);
      survive(bytes);
    }
});

it("survives being cut anywhere", () => {
  for (let length = 0; length < whole.length; length++) {
    const bytes = whole.slice(0, length);
    survive(bytes);
  }
});

it("survives random bytes after the magic", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (rest) => {
      const bytes = new Uint8Array(8 + rest.length);
      bytes.set([0x47, 0x47, 0x55, 0x46, 3]);
      bytes.set(rest, 8);
      survive(bytes);
    }),
    { numRuns: 1000 },
  );
});

it("names the offset and the value", () => {
  const refuse = (change: (view: DataView) => void): string => {
    const bytes = whole.slice();
    change(new DataView(bytes.buffer));
    try {
      parseGguf("x.gguf", new DataView(bytes.buffer), bytes.length);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  expect(refuse((view) => view.setUint32(8, 1e6, true))).toMatch(
    /^x.gguf: at byte 8: the number of tensors is 1000000, more than the remaining \d+ bytes/,
  );
  expect(refuse((view) => view.setUint32(16, 1e6, true))).toMatch(/byte 16.*1000000/);
  expect(refuse((view) => view.setBigUint64(24, 2n ** 60n, true))).toMatch(
    /byte 24: length of key 0 is 1152921504606846976/,
  );
  expect(refuse((view) => view.setUint32(52, 77, true))).toMatch(
    /byte 52: general.architecture has value type 77/,
  );
});
