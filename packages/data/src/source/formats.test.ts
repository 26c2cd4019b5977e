import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { MillraceError } from "@millrace/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { unpack } from "../prep/records.ts";
import { crc32c, masked } from "./crc32c.ts";
import { openSource, sourceKindOf } from "./open.ts";
import { boundedCompressors } from "./parquet-pages.ts";
import type { Source } from "./source.ts";
import { openWebDataset } from "./tar.ts";
import { openTokens, packText } from "./tokens.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-forms-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

function folder(): string {
  const path = join(root, String(made++));
  mkdirSync(path);
  return path;
}

function file(name: string, content: Uint8Array | string): string {
  const path = join(folder(), name);
  writeFileSync(path, content);
  return path;
}

/** Payloads and labels of all items, read and taken apart. */
function contents(source: Source): [string, number][] {
  return Array.from({ length: source.length }, (_, i) => {
    const { path, offset, bytes } = source.extent(i);
    const raw = readFileSync(path).subarray(offset, offset + bytes);
    const { payload, label } = unpack(source.codec, raw, source.label(i));
    return [Buffer.from(payload).toString("latin1"), label];
  });
}

function tar(members: readonly (readonly [string, string])[], type = "0"): Buffer {
  const blocks = members.flatMap(([name, text]) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write("0000644\0", 100);
    header.write(`${text.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("        ", 148);
    header.write(type, 156);
    header.write("ustar\0", 257);
    const sum = header.reduce((a, b) => a + b, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    const content = Buffer.alloc(Math.ceil(text.length / 512) * 512);
    content.write(text, "latin1");
    return [header, content];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const record = (payload: string, label: number): Buffer => {
  const field = (tag: number, body: Buffer): Buffer =>
    Buffer.concat([Buffer.from([tag, body.length]), body]);
  const feature = (name: string, value: Buffer): Buffer =>
    field(10, Buffer.concat([field(10, Buffer.from(name)), field(18, value)]));
  return field(
    10,
    Buffer.concat([
      feature("image/encoded", field(10, field(10, Buffer.from(payload)))),
      feature("image/class/label", field(26, field(10, Buffer.from([label])))),
    ]),
  );
};

function tfRecords(records: readonly Buffer[]): Buffer {
  return Buffer.concat(
    records.flatMap((content) => {
      const header = Buffer.alloc(12);
      header.writeBigUInt64LE(BigInt(content.length));
      header.writeUInt32LE(masked(crc32c(header.subarray(0, 8))), 8);
      const end = Buffer.alloc(4);
      end.writeUInt32LE(masked(crc32c(content)));
      return [header, content, end];
    }),
  );
}

function mds(
  dir: string,
  samples: readonly (readonly [string, number])[],
  change: object = {},
): string {
  const bodies = samples.map(([payload, label]) => {
    const body = Buffer.alloc(4 + 8 + payload.length);
    body.writeUInt32LE(payload.length, 0);
    body.writeBigInt64LE(BigInt(label), 4);
    body.write(payload, 12);
    return body;
  });
  const head = Buffer.alloc(4 + 4 * (samples.length + 1));
  head.writeUInt32LE(samples.length);
  let at = head.length;
  bodies.forEach((body, i) => {
    head.writeUInt32LE(at, 4 + 4 * i);
    at += body.length;
  });
  head.writeUInt32LE(at, 4 + 4 * samples.length);
  writeFileSync(join(dir, "shard.00000.mds"), Buffer.concat([head, ...bodies]));
  const shard = {
    format: "mds",
    column_names: ["class", "image"],
    column_encodings: ["int", "bytes"],
    column_sizes: [8, null],
    samples: samples.length,
    compression: null,
    raw_data: { basename: "shard.00000.mds", bytes: at },
    ...change,
  };
  writeFileSync(join(dir, "index.json"), JSON.stringify({ version: 2, shards: [shard] }));
  return dir;
}

/** A frame of zstd with one block that is stored as it is. */
function zstdFrame(content: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(0xfd2fb528);
  // A single segment, whose size takes four bytes.
  head.writeUInt8(0xa0, 4);
  head.writeUInt32LE(content.length, 5);
  head.writeUIntLE(1 | (content.length << 3), 9, 3);
  return Buffer.concat([head, content]);
}

const three: [string, number][] = [
  ["first", 3],
  ["the second", 1],
  ["3rd", 2],
];

describe("the form is told from the path, and items are the same in every form:", () => {
  test("WebDataset, with a sidecar that is used and renewed", async () => {
    const path = file(
      "a.tar",
      tar(
        three.flatMap(
          ([text, label], i) =>
            [
              [`s/${i}.a.jpg`, text],
              [`s/${i}.cls`, `${label}`],
            ] as const,
        ),
      ),
    );
    const source = await openSource({ path });
    expect(source.kind).toBe("webdataset");
    expect(contents(source)).toEqual(three);
    expect(source.name(1)).toBe("a.tar!s/1.a.jpg");
    const { mtimeMs } = statSync(`${path}.millrace.json`);
    expect(contents(await openSource({ path }))).toEqual(three);
    expect(statSync(`${path}.millrace.json`).mtimeMs).toBe(mtimeMs);
    writeFileSync(`${path}.millrace.json`, "{");
    expect((await openSource({ path })).identity).toBe(source.identity);
    writeFileSync(path, tar([["x.jpg", "other"]]));
    expect(contents(await openSource({ path }))).toEqual([["other", -1]]);
  });

  test("TFRecord", async () => {
    const path = file("a.tfrecord", tfRecords(three.map(([text, label]) => record(text, label))));
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
    const source = await openSource({ path });
    expect(contents(source)).toEqual(three);
    // A change that tf.Example does not notice is noticed by the record's checksum.
    const changed = readFileSync(path);
    const at = changed.indexOf(Buffer.from(three[0]?.[0] ?? ""));
    changed[at] = (changed[at] as number) ^ 1;
    writeFileSync(path, changed);
    expect(() => contents(source)).toThrow(/does not agree with its checksum/);
  });

  test("MDS", async () => {
    const path = mds(folder(), three);
    expect(sourceKindOf(path)).toBe("mds");
    expect(contents(await openSource({ path }))).toEqual(three);
  });

  test("shards that are compressed as a whole: WebDataset by gzip, MDS by zstd", async () => {
    const members = three.flatMap(([text, label], i): [string, string][] => [
      [`${i}.jpg`, text],
      [`${i}.cls`, String(label)],
    ]);
    const path = file("a.tar.gz", gzipSync(tar(members)));
    const source = await openSource({ path });
    expect(contents(source)).toEqual(three);
    expect(source.name(1)).toBe("a.tar.gz!1.jpg");
    const shards = mds(folder(), three);
    const raw = readFileSync(join(shards, "shard.00000.mds"));
    const zip_data = { basename: "shard.00000.mds.zstd", bytes: 0 };
    mds(shards, three, { compression: "zstd:7", zip_data });
    rmSync(join(shards, "shard.00000.mds"));
    await expect(openSource({ path: shards, kind: "mds" })).rejects.toThrow(/is not there/);
    writeFileSync(join(shards, zip_data.basename), zstdFrame(raw));
    expect(contents(await openSource({ path: shards }))).toEqual(three);
  });

  test("MDS shards by brotli and snappy; bzip2 is refused with the command that helps", async () => {
    for (const [compression, ending, pack] of [
      ["br:11", "br", (raw: Buffer) => brotliCompressSync(raw)],
      // The length, and one literal of that length.
      [
        "snappy",
        "snappy",
        (raw: Buffer) =>
          Buffer.concat([Buffer.from([raw.length, 61 << 2, raw.length - 1, 0]), raw]),
      ],
      ["bz2:9", "bz2", (raw: Buffer) => raw],
    ] as const) {
      const shards = mds(folder(), three);
      const raw = readFileSync(join(shards, "shard.00000.mds"));
      expect(raw.length).toBeLessThan(128);
      const zip_data = { basename: `shard.00000.mds.${ending}`, bytes: 0 };
      mds(shards, three, { compression, zip_data });
      rmSync(join(shards, "shard.00000.mds"));
      writeFileSync(join(shards, zip_data.basename), pack(raw));
      const opened = openSource({ path: shards });
      if (ending === "bz2")
        await expect(opened).rejects.toMatchObject({
          message: expect.stringContaining("is compressed by bz2"),
          hint: expect.stringMatching(/bunzip2 --keep .*\*\.bz2/),
        });
      else expect(contents(await opened)).toEqual(three);
    }
  });

  test("JSONL, over the borders of lines of all kinds", async () => {
    const path = file("a.jsonl", '\n {"y":3}\r\n{"y":1, "t":"x"}  \n\n\t\n{"y":2}');
    const source = await openSource({ path, label: "y" });
    expect(contents(source)).toEqual([
      ['{"y":3}', 3],
      ['{"y":1, "t":"x"}', 1],
      ['{"y":2}', 2],
    ]);
  });

  test("Parquet, whose values are taken out once", async () => {
    const { parquetWriteBuffer } = await import("hyparquet-writer");
    const columnData = [
      {
        name: "image",
        data: three.map(([text]) => Buffer.from(text)),
        type: "BYTE_ARRAY" as const,
      },
      { name: "label", data: three.map(([, label]) => label), type: "INT32" as const },
    ];
    const path = file("a.parquet", new Uint8Array(parquetWriteBuffer({ columnData })));
    expect(contents(await openSource({ path }))).toEqual(three);
    expect(contents(await openSource({ path }))).toEqual(three);
    await expect(openSource({ path, payload: "pixels" })).rejects.toThrow(
      /no column pixels; there are image, label/,
    );
    const { openParquet } = await import("./parquet.ts");
    await expect(openParquet(path, { maxGroupBytes: 10, records: folder() })).rejects.toThrow(
      /unpacks to \d+ bytes, more than the limit of 10/,
    );
    truncateSync(path, 40);
    await expect(openSource({ path })).rejects.toMatchObject({ code: "DATA_INVALID" });
  });

  test("tokens and text", async () => {
    const text = file("a.txt", "ab\n\ncde\n");
    expect(await packText(text)).toBe(`${text}.tokens.bin`);
    const source = openTokens(`${text}.tokens.bin`, { length: 3 });
    const windows = contents(source).map(
      ([bytes]) => [...new Uint16Array(Buffer.from(bytes, "latin1").buffer.slice(0))].length,
    );
    expect(windows.length).toBe(2);
    const raw = readFileSync(`${text}.tokens.bin`);
    expect([...new Uint16Array(raw.buffer, raw.byteOffset, raw.length / 2)]).toEqual([
      97, 98, 0, 99, 100, 101, 10, 0,
    ]);
    expect((await openSource({ path: text, tokens: 4 })).length).toBe(2);
    await expect(
      packText(text, async () => [70_000], { out: join(folder(), "b.bin") }),
    ).rejects.toThrow(/token 70000 does not fit into 2 bytes/);
  });
});

describe("refused, naming file and place:", () => {
  test.each(["/etc/passwd.jpg", "../up.jpg", "a/../../b.jpg"])(
    "the tar member %s",
    async (name) => {
      await expect(openWebDataset(file("a.tar", tar([[name, "x"]])))).rejects.toThrow(
        /leaves the data set/,
      );
    },
  );

  test("an MDS index that leaves the data set, lies about a size, or is none", async () => {
    const leaving = { raw_data: { basename: "../x.mds", bytes: 1 } };
    await expect(openSource({ path: mds(folder(), three, leaving) })).rejects.toThrow(
      /leaves the data set/,
    );
    const wrong = { raw_data: { basename: "shard.00000.mds", bytes: 1 } };
    await expect(openSource({ path: mds(folder(), three, wrong) })).rejects.toThrow(
      /the index says 1/,
    );
    await expect(openSource({ path: mds(folder(), three, { samples: 9 }) })).rejects.toThrow(
      /9 samples/,
    );
    await expect(openSource({ path: mds(folder(), three, { format: "xyz" }) })).rejects.toThrow(
      /format/,
    );
  });

  test("paths without data", async () => {
    await expect(openSource({ path: join(root, "none") })).rejects.toMatchObject({
      code: "FILE_UNREADABLE",
    });
    await expect(openSource({ path: folder() })).rejects.toThrow(
      /no form of data set is recognised/,
    );
    await expect(openSource({ path: folder(), kind: "folder" })).rejects.toThrow(/holds no items/);
    await expect(openSource({ path: file("a.bin", "odd") })).rejects.toThrow(
      /no whole number of 2-byte tokens/,
    );
    await expect(openSource({ path: file("a.jsonl", "{}\n[1]\n") })).rejects.toThrow(
      /line at byte 3 is no JSON object/,
    );
  });
});

test("pages of Parquet that expand beyond their limit are refused while they are unpacked", () => {
  const bomb = gzipSync(Buffer.alloc(1 << 20));
  const { GZIP, SNAPPY } = boundedCompressors(1000);
  expect(() => GZIP?.(bomb, 1 << 20)).toThrow(
    /unpacks to 1048576 bytes, more than the limit of 1000/,
  );
  expect(() => SNAPPY?.(bomb, 2 ** 31)).toThrow(/more than the limit/);
  // A page that lies about its size gets no further than what it announced.
  expect(() => GZIP?.(bomb, 1000)).toThrow();
  expect(boundedCompressors(2 ** 21).GZIP?.(bomb, 1 << 20).length).toBe(1 << 20);
});

describe("damaged shards", () => {
  const shards: [string, Buffer][] = [
    [
      "a.tar",
      tar([
        ["0.jpg", "some text"],
        ["0.cls", "4"],
        ["1.jpg", "more text"],
      ]),
    ],
    ["a.tfrecord", tfRecords(three.map(([text, label]) => record(text, label)))],
  ];
  test.each(shards)(
    "%s: every change is taken or refused as invalid data, never anything else",
    async (name, good) => {
      const path = file(name, good);
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
          fc.nat(good.length),
          async (changes, end) => {
            const bad = Buffer.from(good);
            for (const [at, value] of changes) bad[at] = value;
            writeFileSync(path, bad.subarray(0, Math.max(1, end)));
            rmSync(`${path}.millrace.json`, { force: true });
            const source = await openSource({ path }).catch((error: unknown) => {
              if (error instanceof MillraceError && error.code === "DATA_INVALID") return null;
              throw error;
            });
            for (let i = 0; source !== null && i < source.length; i++) {
              const { offset, bytes } = source.extent(i);
              expect(offset + bytes).toBeLessThanOrEqual(Math.max(1, end));
            }
          },
        ),
        { numRuns: 150 },
      );
    },
  );

  test("records: every change is taken or refused with a reason", () => {
    const good = record("payload", 5);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, end) => {
        const bad = Buffer.from(good);
        bad[at] = value;
        const codec = {
          kind: "tf-example",
          payload: "image/encoded",
          label: "image/class/label",
        } as const;
        try {
          const { payload } = unpack(codec, bad.subarray(0, end), -1);
          expect(payload.length).toBeLessThanOrEqual(end);
        } catch (error) {
          expect((error as Error).message).toMatch(/record/);
        }
      }),
      { numRuns: 500 },
    );
  });
});
