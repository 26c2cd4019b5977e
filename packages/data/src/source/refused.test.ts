import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { MillraceError } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unpack } from "../prep/records.ts";
import { file, folder, mds, record, tar, tfRecords, three } from "./forms.conformance.ts";
import { openSource, sourceKindOf } from "./open.ts";
import { boundedCompressors } from "./parquet-pages.ts";
import { openWebDataset } from "./tar.ts";

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

  test("what the system does not let be read", async () => {
    const loop = join(folder(), "loop");
    symlinkSync(loop, loop);
    const refusal = { code: "FILE_UNREADABLE", message: expect.stringContaining(loop) };
    expect(() => sourceKindOf(loop)).toThrow(expect.objectContaining(refusal));
    for (const kind of [undefined, "folder", "webdataset", "parquet", "tokens"] as const)
      await expect(openSource({ path: loop, ...(kind && { kind }) })).rejects.toMatchObject(
        refusal,
      );
    // A class that this user may not list; root may list everything.
    const path = folder();
    mkdirSync(join(path, "cat"), { mode: 0 });
    if (process.getuid?.() !== 0)
      await expect(openSource({ path, kind: "folder" })).rejects.toMatchObject({
        message: expect.stringContaining("cat: permission denied"),
        hint: expect.stringContaining("let this user read it"),
      });
    chmodSync(join(path, "cat"), 0o700);
  });

  test("paths without data", async () => {
    await expect(openSource({ path: join(folder(), "none") })).rejects.toMatchObject({
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
