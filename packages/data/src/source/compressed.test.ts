import { existsSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { compressionOf, unpackShard, unzstdSync } from "./compressed.ts";
import type { SourceFile } from "./extent-source.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-compressed-"));
afterAll(() => rmSync(root, { recursive: true }));

const text = Buffer.from(
  Array.from({ length: 300 }, (_, i) => `line ${i} of a text that repeats itself\n`).join(""),
);
/** The text, and 20 MB of zeros, as `zstd -19` and `zstd -3` (1.5.4) write them. */
const textZstd = Buffer.from(
  "KLUv/WRGLM0MAPbhQBeAqTAdgBb7yHtMRxNUJiIiZKeHYFNT9VEANAA1AMcYY4wxxphSSimllFIIIYQQQggZY4wxxhhDCCGEEEKIqqqqqqr//1dV1Z2ZlZGNidWeAAIFBoUDwRQOAQYEQ8IOAQOHHRYMhwVM4GA0gwFBQRKJxOFwOBwOh8PhUCgUCoVCoVAoLMuyLMuyLMvd3d3dXVVVVVVVkiRJkiRJkjznnHPOOQF777333nvvvffee3d3mqZpmqZpmj4ej8fj8Xg8Ho1Go9FoNBqNxmKxWCwWi8VikUgkEolEEu+9995777333nvvvffee++9995777333nvvvffee++9995777333nvvvQOBLKgRQPn9PwOxZ5RcAxJIEPj/VxCg8AeiRAFUIEHAASECFQgUIkHABCGC7T9XRQqAgQISChgQRkCBhAISFBgQYkCBwMKRmBC1Q2WoFCqEalATVIEKYCgDAwZGjBgYWLBg4MDAiAMDCwZGHBgYMbBgwcBo/On8lD4Fn96eoqfI0+Epd4pdwWQwDIbBYLJNcBHArwJGQvmm",
  "base64",
);
const zerosZstd = Buffer.from(
  "KLUv/YRYAC0xAVQAABAAAAEA+/85wAICABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEABEAAAAAQD9/80LEAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAEQAAAABAP3/zQsQAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAADaAkAIfdQ2Q==",
  "base64",
);

/** The text as a block of libsnappy 1.1.9. */
const textSnappy = Buffer.from(
  "xlqQbGluZSAwIG9mIGEgdGV4dCB0aGF0IHJlcGVhdHMgaXRzZWxmCgUlADGOJQAAMo4lAAAzjiUAADSOJQAANY4lAAA2jiUAADeOJQAAOI4lAAA5jiUAADGWcwGSdAEAMZJ1AQAxknYBADGSdwEAMZJ4AQAxknkBADGSegEAMZJ7AQAxknwBADKSfAEAMpJ8AQAyknwBADKSfAEAMpJ8AQAyknwBADKSfAEAMpJ8AQAyknwBADKSfAEAM5J8AQAzknwBADOSfAEAM5J8AQAzknwBADOSfAEAM5J8AQAzknwBADOSfAEAM5J8AQA0knwBADSSfAEANJJ8AQA0knwBADSSfAEANJJ8AQA0knwBADSSfAEANJJ8AQA0knwBADWSfAEANZJ8AQA1knwBADWSfAEANZJ8AQA1knwBADWSfAEANZJ8AQA1knwBADWSfAEANpJ8AQA2knwBADaSfAEANpJ8AQA2knwBADaSfAEANpJ8AQA2knwBADaSfAEANpJ8AQA3knwBADeSfAEAN5J8AQA3knwBADeSfAEAN5J8AQA3knwBADeSfAEAN5J8AQA3knwBADiSfAEAOJJ8AQA4knwBADiSfAEAOJJ8AQA4knwBADiSfAEAOJJ8AQA4knwBADiSfAEAOZJ8AQA5knwBADmSfAEAOZJ8AQA5knwBADmSfAEAOZJ8AQA5knwBADmSfAEAOZJ8AQQxMJJ9AQQxMJJ+AQQxMJJ/AQQxMJKAAQQxMJKBAQQxMJKCAQQxMJKDAQQxMJKEAQQxMJKFAQQxMJaGAZ7jDpaGAZrlDprmDprnDproDprpDprqDprrDpbsDgAxlu0OADGW7g4AMZbvDgAxlvAOADGW8Q4AMZbyDgAxlvMOADGW9A4AMZb1DgAxlvYOADGW9w4AMZb4DgAxlvkOADGW+g4AMZb7DgAxlvwOADGW/Q4AMZb+DgAxlv8OADGWAA8AMZYBDwAxlgIPADGWAw8AMZYEDwAxlgUPADGWBg8AMZYHDwAxlggPADGWCQ8AMZYKDwAxlgsPADGWDA8AMZYNDwAxlg4PADGWDw8AMZYQDwAxlhEPADGWEg8AMZYTDwAxlhQPADGWFQ8AMZYWDwAxlhcPADGWGA8AMZYZDwAxlhoPADGWGw8AMZYcDwAxlh0PADGWHg8AMZYfDwAxliAPADGWIQ8AMZYiDwAxliMPADGWJA8AMZYlDwAxliYPADGWJw8AMZYoDwAxlikPADGWKg8AMZYrDwAxliwPADGWLQ8AMZYuDwAxli8PADGWMA8AMZYxDwAxljIPADGWMw8AMZY0DwAxljUPADGWNg8AMZY3DwAxljgPADGWOQ8AMZY6DwAxljsPADGWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPBDIwkjwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKWPA8AMpY8DwAyljwPADKCPA8=",
  "base64",
);
/** A block of snappy that is all copies of its first byte: 20 MB of zeros. */
const zerosSnappy = Buffer.concat([
  Buffer.from([0x80, 0xda, 0xc4, 0x09, 0x00, 0x00]),
  ...Array.from({ length: 312_500 }, () => Buffer.from([0xfe, 0x01, 0x00])),
]);

function shard(name: string, content: Uint8Array): SourceFile {
  const path = join(root, name);
  writeFileSync(path, content);
  const { size, mtimeMs } = statSync(path);
  return { path, name: basename(path), bytes: size, mtimeMs };
}

describe.each([
  ["gzip", "a.tar.gz", gzipSync(text), gzipSync(Buffer.alloc(20_000_000))],
  ["zstd", "a.tar.zst", textZstd, zerosZstd],
  ["brotli", "a.tar.br", brotliCompressSync(text), brotliCompressSync(Buffer.alloc(20_000_000))],
  ["snappy", "a.tar.snappy", textSnappy, zerosSnappy],
] as const)("%s", (compression, name, packed, bomb) => {
  test("is unpacked once, and anew when the shard changed", async () => {
    const given = shard(name, packed);
    const found = await unpackShard(given, compression);
    expect(basename(found.path)).toBe("a.tar");
    expect(found).toMatchObject({ name, bytes: text.length, mtimeMs: given.mtimeMs });
    expect(await readFile(found.path)).toEqual(text);
    const { ino } = statSync(found.path);
    expect(await unpackShard(given, compression)).toEqual(found);
    expect(statSync(found.path).ino).toBe(ino);
    utimesSync(given.path, 1, 1);
    await unpackShard({ ...given, mtimeMs: statSync(given.path).mtimeMs }, compression);
    expect(statSync(found.path).ino).not.toBe(ino);
  });

  test("damage is refused with the shard's name, and leaves nothing", async () => {
    for (const bad of [packed.subarray(0, packed.length - 12), Buffer.from("no such format")]) {
      const given = shard(`bad-${name}`, bad);
      await expect(unpackShard(given, compression)).rejects.toMatchObject({
        code: "DATA_INVALID",
        message: expect.stringContaining(`bad-${name}: it cannot be unpacked`),
      });
    }
    expect(existsSync(join(root, ".millrace-unpacked", "bad-a.tar"))).toBe(false);
  });

  test("a bomb is refused while it is unpacked", async () => {
    const given = shard(`bomb-${name}`, bomb);
    await expect(unpackShard(given, compression, 1_000_000)).rejects.toThrow(
      /unpack to more than the limit of 1000000/,
    );
    expect(existsSync(join(root, ".millrace-unpacked", "bomb-a.tar"))).toBe(false);
  });
});

test("a page of zstd has the size that was announced, or is refused", () => {
  expect(Buffer.from(unzstdSync(textZstd, text.length))).toEqual(text);
  expect(() => unzstdSync(textZstd, text.length - 1)).toThrow();
  expect(() => unzstdSync(zerosZstd, 1000)).toThrow();
  expect(() => unzstdSync(textZstd.subarray(0, 100), text.length)).toThrow();
});

test("names that are not compressed are left alone", () => {
  expect(compressionOf("a.tar")).toBeNull();
  expect(compressionOf("a.tgz")).toBe("gzip");
  expect(compressionOf("a.tar.gz")).toBe("gzip");
  expect(compressionOf("a.tar.zst")).toBe("zstd");
});
