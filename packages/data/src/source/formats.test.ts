import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { unpack } from "../prep/records.ts";
import { crc32c } from "./crc32c.ts";
import {
  file,
  folder,
  mds,
  record,
  tar,
  tfRecords,
  three,
  zstdFrame,
} from "./forms.conformance.ts";
import { openSource, sourceKindOf } from "./open.ts";
import type { Source } from "./source.ts";

import { openTokens, packText } from "./tokens.ts";

/** Payloads and labels of all items, read and taken apart. */
function contents(source: Source): [string, number][] {
  return Array.from({ length: source.length }, (_, i) => {
    const { path, offset, bytes } = source.extent(i);
    const raw = readFileSync(path).subarray(offset, offset + bytes);
    const { payload, label } = unpack(source.codec, raw, source.label(i));
    return [Buffer.from(payload).toString("latin1"), label];
  });
}

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
