import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Loan } from "@millrace/core/job";
import { batchSourceConformance } from "@millrace/core/job/conformance";
import { sharedFolder } from "@millrace/system";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Batch } from "../batch/batch.ts";
import { MinioCache } from "../cache/minio-cache.ts";
import type { ImageTransformSpec } from "../prep/transform.ts";
import { openFolder } from "../source/folder.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { DataLoader, type LoaderOptions } from "./loader.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-loader-"));
const caches = mkdtempSync(join(sharedFolder(), "test-"));
const count = 50;
const transform: ImageTransformSpec = {
  kind: "image",
  size: 32,
  mode: "train",
  type: "u8",
  layout: "nchw",
};
makeJpegSet(folder, { count, classes: 5, width: 80 });
const source = openFolder(folder);
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(caches, { recursive: true });
});

const make = (seed: number, more: Partial<LoaderOptions> = {}): DataLoader =>
  new DataLoader({ source, transform, batchSize: 8, seed, workers: 1, ...more });

const wholeCache = (): MinioCache =>
  new MinioCache({ source, capacityBytes: 1e6, folder: caches, persistent: false });

const print = ({ data, labels, items, epoch }: Batch): string =>
  `${epoch}: ${items.join()} ${labels.join()} ${Buffer.from(data).toString("base64")}`;

/** Batches of n epochs as text. */
async function epochs(loader: DataLoader, n: number): Promise<string[]> {
  const seen: string[] = [];
  for (let ends = 0; ends < n; ) {
    const loan = await loader.next();
    if (loan === null) ends++;
    seen.push(loan === null ? "end" : print(loan.batch));
    loan?.release();
  }
  return seen;
}

batchSourceConformance("DataLoader", {
  make: (seed) => make(seed),
  length: count,
  print,
  items: ({ items }) => [...items],
});

batchSourceConformance("DataLoader with a small cache, two workers and little room", {
  make: (seed) =>
    make(seed, {
      cache: new MinioCache({ source, capacityBytes: 40_000, folder: caches, persistent: false }),
      workers: 2,
      arenaBytes: 65536,
      slots: 2,
      ahead: 3,
    }),
  length: count,
  print,
  items: ({ items }) => [...items],
});

describe("batches", () => {
  let reference: string[];
  beforeAll(async () => {
    await using loader = make(4);
    reference = await epochs(loader, 2);
  });

  test("do not depend on workers, cache or read-ahead", async () => {
    for (const more of [
      { workers: 1, slots: 2, ahead: 1, inFlight: 1 },
      { workers: 3, slots: 6, ahead: 12, cache: wholeCache() },
    ]) {
      await using loader = make(4, more);
      expect(await epochs(loader, 2)).toEqual(reference);
    }
  });

  test("go on exactly after a resume with another number of workers", async () => {
    for (const stop of [3, 7, 9]) {
      await using first = make(4, { workers: 1 });
      for (let i = 0; i < stop; i++) (await first.next())?.release();
      await using second = make(0, { workers: 3 });
      second.seek(first.state());
      expect(await epochs(second, 2 - (stop > 7 ? 1 : 0))).toEqual(reference.slice(stop));
    }
  });

  test("of two ranks are the samples of one", async () => {
    await using whole = make(4, { batchSize: 50 });
    const loan = (await whole.next()) as Loan<Batch>;
    const order = [...loan.batch.items];
    for (const rank of [0, 1]) {
      await using part = make(4, { batchSize: 25, rank, world: 2 });
      expect([...((await part.next()) as Loan<Batch>).batch.items]).toEqual(
        order.filter((_, i) => i % 2 === rank),
      );
    }
  });

  test("name the class, and f32 is the normalised u8", async () => {
    const still = { ...transform, mode: "evaluate" } as const;
    await using bytes = make(4, { transform: still });
    await using floats = make(4, { transform: { ...still, type: "f32", layout: "nhwc" } });
    const a = ((await bytes.next()) as Loan<Batch>).batch;
    const b = ((await floats.next()) as Loan<Batch>).batch;
    expect([...a.labels]).toEqual([...a.items].map((item) => source.label(item)));
    expect(b.labels).toEqual(a.labels);
    const mean = [0.485, 0.456, 0.406];
    const std = [0.229, 0.224, 0.225];
    const pixels = 32 * 32;
    for (let s = 0; s < 8; s++)
      for (let c = 0; c < 3; c++)
        for (let p = 0; p < pixels; p += 37) {
          const u8 = a.data[(s * 3 + c) * pixels + p] as number;
          const f32 = b.data[(s * pixels + p) * 3 + c] as number;
          const back = (f32 * (std[c] as number) + (mean[c] as number)) * 255;
          expect(Math.abs(back - u8)).toBeLessThanOrEqual(0.51);
        }
  });
});

test("a batch on loan stays whole until it is released, and holds the loader back", async () => {
  await using loader = make(1, { slots: 2 });
  const first = (await loader.next()) as Loan<Batch>;
  const text = print(first.batch);
  const second = (await loader.next()) as Loan<Batch>;
  const stop = new AbortController();
  const third = loader.next(stop.signal);
  stop.abort(new Error("waited long enough"));
  await expect(third).rejects.toThrow("waited long enough");
  expect(print(first.batch)).toBe(text);
  second.release();
  expect(() => second.release()).toThrow(/released already/);
  const again = (await loader.next()) as Loan<Batch>;
  expect(again.batch.position).toBe(16);
  expect(print(first.batch)).toBe(text);
});

test("a call that waits when the loader is closed is told so", async () => {
  const loader = make(1, { slots: 2 });
  await loader.next();
  await loader.next();
  const waiting = expect(loader.next()).rejects.toThrow("the loader was closed");
  await loader[Symbol.asyncDispose]();
  await waiting;
});

describe("bad samples", () => {
  const broken = join(folder, "..", `${folder.split("/").at(-1)}-bad`);
  makeJpegSet(broken, { count: 20, classes: 2, width: 80 });
  writeFileSync(join(broken, "class-00/0000002.jpg"), "not an image at all");
  truncateSync(join(broken, "class-01/0000005.jpg"), 900);
  const bad = openFolder(broken);
  afterAll(() => rmSync(broken, { recursive: true }));
  const items = async (policy: "skip" | "replace"): Promise<number[][]> => {
    await using loader = make(1, { source: bad, badSamples: policy });
    const seen: number[][] = [];
    for (let loan = await loader.next(); loan !== null; loan = await loader.next()) {
      expect(loan.batch.data.length).toBe(loan.samples * 3 * 32 * 32);
      seen.push([...loan.batch.items]);
      loan.release();
    }
    const { count, named } = loader.badSamples();
    expect(count).toBeGreaterThanOrEqual(2);
    expect(named.map(({ name }) => name).sort()).toEqual([
      "class-00/0000002.jpg",
      "class-01/0000005.jpg",
    ]);
    return seen;
  };

  test("are left out, counted and named", async () => {
    const seen = (await items("skip")).flat();
    expect(seen.length).toBe(18);
    expect(new Set(seen).size).toBe(18);
  });

  test("are replaced by others, the same each time", async () => {
    const seen = await items("replace");
    expect(seen.map((batch) => batch.length)).toEqual([8, 8, 4]);
    expect(await items("replace")).toEqual(seen);
  });

  test("are replaced also when later batches have taken what memory they may", async () => {
    await using loader = make(1, {
      source: bad,
      badSamples: "replace",
      batchSize: 2,
      slots: 2,
      ahead: 10,
      arenaBytes: 65536,
    });
    for (let n = 0, loan = await loader.next(); loan !== null; loan = await loader.next()) {
      n += loan.samples;
      expect(n).toBe(loan.batch.position + 2);
      loan.release();
    }
  });

  test("end the epoch with their name by default", async () => {
    await using loader = make(1, { source: bad });
    await expect(epochs(loader, 1)).rejects.toThrow(/class-0[01]\/000000[25].jpg: /);
  });

  test("that claim too many pixels are refused before memory is taken", async () => {
    await using loader = make(1, {
      source: bad,
      transform: { ...transform, maxPixels: 1000 },
    });
    await expect(loader.next()).rejects.toThrow(/pixels are more than the limit of 1000/);
  });
});
