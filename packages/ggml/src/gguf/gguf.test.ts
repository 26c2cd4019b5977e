import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mappingCount } from "@millrace/system";
import { afterAll, describe, expect, it } from "vitest";
import { openGguf } from "./gguf.ts";
import { countingTensor, sampleMetadata } from "./sample.conformance.ts";
import type { MetadataValues } from "./write/header.ts";
import { type TensorSource, writeGguf } from "./write/write-gguf.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, metadata: MetadataValues, tensors: readonly TensorSource[]): string {
  const path = join(folder, name);
  writeGguf(path, metadata, tensors);
  return path;
}

describe("a written file", () => {
  it("is read back as it was written", () => {
    const path = write("round.gguf", sampleMetadata, [
      countingTensor("first", [3, 5]),
      countingTensor("second", [7]),
    ]);
    using model = openGguf(path);
    const { metadata } = model;
    expect(metadata.keys).toEqual(Object.keys(sampleMetadata));
    for (const [key, { type, value }] of Object.entries(sampleMetadata)) {
      if (type === "string[]") expect(metadata.strings(key)).toEqual(value);
      else if (type.endsWith("[]"))
        expect([...(metadata.numbers(key) ?? [])]).toEqual(Array.from(value as number[]));
      else expect(metadata.scalar(key)).toBe(value);
    }
    expect(metadata.describe("a.strings")).toBe("string[3]");
    expect(model.tensors.map((tensor) => [tensor.name, tensor.shape, tensor.bytes])).toEqual([
      ["first", [3, 5], 60],
      ["second", [7], 28],
    ]);
    const second = model.tensor("second");
    if (second === undefined) throw new Error("second is missing");
    expect(model.address(second) % 32n).toBe(0n);
    const bytes = model.data(second);
    expect([...new Float32Array(bytes.buffer, bytes.byteOffset, 7)]).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(model.tensor("third")).toBeUndefined();
  });

  it("never appears when a tensor brings the wrong number of bytes", () => {
    const short: TensorSource = {
      name: "short",
      type: "f32",
      shape: [4],
      *pieces() {
        yield new Uint8Array(8);
      },
    };
    expect(() => write("never.gguf", {}, [short])).toThrow(/short brought 8 bytes instead of 16/);
    expect(existsSync(join(folder, "never.gguf"))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("says which key is missing or of another type", () => {
    using model = openGguf(write("keys.gguf", sampleMetadata, []));
    expect(() => model.metadata.number("llama.block_count")).toThrow(
      /keys\.gguf: the metadata lack llama\.block_count/,
    );
    expect(() => model.metadata.number("general.name")).toThrow(
      /general.name is string, not a num/,
    );
    expect(() => model.metadata.string("a.ints")).toThrow(/a.ints is i32\[3\], not a string/);
    expect(() => model.metadata.strings("a.ints")).toThrow(/not an array of strings/);
    expect(() => model.metadata.numbers("a.bool")).toThrow(/not an array/);
    expect(model.metadata.number("absent", 5)).toBe(5);
    expect(model.metadata.string("absent", null)).toBeNull();
    expect(model.metadata.strings("absent")).toBeNull();
  });
});

describe("a split model", () => {
  const part = (no: number, count: number): MetadataValues => ({
    "split.no": { type: "u16", value: no },
    "split.count": { type: "u16", value: count },
    "split.tensors.count": { type: "i32", value: 2 },
  });

  it("is joined from its parts", () => {
    const first = write("m-00001-of-00002.gguf", { ...sampleMetadata, ...part(0, 2) }, [
      countingTensor("one", [4]),
    ]);
    const second = write("m-00002-of-00002.gguf", part(1, 2), [countingTensor("two", [2])]);
    using model = openGguf(first);
    expect(model.partCount).toBe(2);
    expect(model.tensors.map(({ name, part }) => [name, part])).toEqual([
      ["one", 0],
      ["two", 1],
    ]);
    const two = model.tensor("two");
    if (two === undefined) throw new Error("two is missing");
    const bytes = model.data(two);
    expect([...new Float32Array(bytes.buffer, bytes.byteOffset, 2)]).toEqual([0, 1]);
    expect(() => openGguf(second)).toThrow(/this is part 2 of 2/);
  });

  it("is refused when parts are missing, renamed or of another model", () => {
    const open = mappingCount() ?? 0;
    const lonely = write("l-00001-of-00002.gguf", part(0, 2), [countingTensor("one", [4])]);
    expect(() => openGguf(lonely)).toThrow(/l-00002-of-00002.gguf: no such file/);
    const renamed = write("renamed.gguf", part(0, 2), []);
    expect(() => openGguf(renamed)).toThrow(/part 1 of 2, which its name does not/);
    write("l-00002-of-00002.gguf", part(0, 2), [countingTensor("two", [4])]);
    expect(() => openGguf(lonely)).toThrow(/part 1 of 2, but stands as part 2 of 2/);
    write("l-00002-of-00002.gguf", part(1, 2), [countingTensor("one", [4])]);
    expect(() => openGguf(lonely)).toThrow(/tensor one is in two parts/);
    write("l-00002-of-00002.gguf", part(1, 2), []);
    expect(() => openGguf(lonely)).toThrow(/should have 2 tensors, but its parts hold 1/);
    expect((mappingCount() ?? 0) - open).toBeLessThan(40);
  });
});

describe("files that are no models", () => {
  it("names what is there instead", () => {
    const path = join(folder, "text.gguf");
    writeFileSync(path, "{}");
    expect(() => openGguf(path)).toThrow(/begins with "\{\}", not with "GGUF"/);
    expect(() => openGguf(folder)).toThrow(/not a file/);
    writeFileSync(path, "GGUF\0\0\0\x03");
    expect(() => openGguf(path)).toThrow(/big-endian/);
    writeFileSync(path, "GGUF\x01\0\0\0");
    expect(() => openGguf(path)).toThrow(/version is 1/);
  });

  it("says that a download broke off", () => {
    const whole = readFileSync(write("cut.gguf", sampleMetadata, [countingTensor("t", [64])]));
    const path = join(folder, "cut.gguf");
    writeFileSync(path, whole.subarray(0, whole.length - 10));
    expect(() => openGguf(path)).toThrow(/t ends at \d+, but the file at \d+/);
    writeFileSync(path, whole.subarray(0, 100));
    expect(() => openGguf(path)).toThrow(/cut.gguf: at byte \d+/);
  });
});
