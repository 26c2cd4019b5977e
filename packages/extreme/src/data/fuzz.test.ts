/** Fuzz: whatever the bytes: a reader gives a matrix that keeps its promises, or says which line is wrong. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { MillraceError, Rng } from "@millrace/core";
import { afterAll, expect, test } from "vitest";
import type { Csr } from "./csr.ts";
import { readFilter } from "./filters.ts";
import { readMatrix, readOneFile, readPredictions } from "./sparse.ts";
import { readJsonLines } from "./texts.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-fuzz-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Fails where a matrix is not what `Csr` says it is. */
function sound(matrix: Csr): void {
  const { rows, cols, indptr, indices, values } = matrix;
  expect(indptr.length).toBe(rows + 1);
  expect(indptr[rows]).toBe(indices.length);
  if (values !== null) expect(values.every(Number.isFinite)).toBe(true);
  for (let row = 0; row < rows; row++)
    for (let at = indptr[row]!; at < indptr[row + 1]!; at++) {
      expect(indices[at]).toBeGreaterThanOrEqual(at === indptr[row] ? 0 : indices[at - 1]! + 1);
      expect(indices[at]).toBeLessThan(cols);
    }
}

const pieces = [
  ...["0", "7", "12", "4294967296", "2147483648", "99999999999999999", "1e39", "1e-400", "nan"],
  ...["inf", "-1", "+2", "0x10", ".", "-", ":", ",", " ", "\t", "\n", "\r\n", "\n\n", "\0", "{"],
  ...['"', "[", "]", "}", "null", "é", "\ufeff", "1:1", "target_ind"],
].map((piece) => Buffer.from(piece));

/** `text` after a few cuts, swaps and insertions. */
function damaged(text: Buffer, rng: Rng): Buffer {
  let bytes = text;
  for (let n = rng.int(0, 3); n > 0; n--) {
    const [at, length] = [rng.int(0, bytes.length), rng.int(0, 3)];
    const piece = pieces[rng.int(0, pieces.length - 1)]!;
    const middle = rng.next() < 0.7 ? piece : Buffer.from([rng.int(0, 255)]);
    bytes = Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(at + length)]);
  }
  return rng.next() < 0.1 ? bytes.subarray(0, rng.int(0, bytes.length)) : bytes;
}

interface Reader {
  readonly good: string;
  readonly read: (file: string) => Promise<readonly Csr[]>;
}

const readers: Readonly<Record<string, Reader>> = {
  "matrix files": {
    good: "3 9\n1:0.25 8:1e-3\n\n5:-3 0:1\n",
    read: async (file) => [await readMatrix(file, true)],
  },
  "label files": {
    good: "3 9\n1:1 8:1\n\n5:1\n",
    read: async (file) => [await readMatrix(file, false)],
  },
  "the one-file form": {
    good: "4 6 3\n2,0 4:0.5 1:2\n 0:1e-2\n1\n\n",
    read: async (file) => {
      const { features, labels } = await readOneFile(file);
      return [features, labels];
    },
  },
  predictions: {
    good: "3:0.5 1:2\n\n0:1e-2\n",
    read: async (file) => [await readPredictions(file, 3, 5)],
  },
  "filter files": {
    good: "0 3\n2 1\n2 1\n1 0\n",
    read: async (file) => [await readFilter(file, 3, 4)],
  },
  "JSON lines": {
    good: '{"title":"a","target_ind":[0,3]}\n{"content":"b c","target_ind":[]}\n',
    read: async (file) => {
      const { labels } = await readJsonLines(file, null);
      return labels === null ? [] : [labels];
    },
  },
};

for (const [name, { good, read }] of Object.entries(readers))
  test(`damaged ${name} are read soundly or refused with their line`, async () => {
    const rng = new Rng(name);
    let [taken, refused] = [0, 0];
    for (let round = 0; round < 200; round++) {
      const text = damaged(Buffer.from(good), rng);
      let packed: Buffer = round % 4 === 0 ? gzipSync(text) : text;
      if (round % 16 === 0) packed = packed.subarray(0, rng.int(0, packed.length));
      const file = join(folder, round % 4 === 0 ? "f.gz" : "f");
      writeFileSync(file, packed);
      try {
        for (const matrix of await read(file)) sound(matrix);
        taken++;
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        expect(error.code, `${JSON.stringify(String(text))}`).toBe("DATASET_INVALID");
        expect(error.message).toMatch(/f(\.gz)?(:\d+: |.* is not a whole gzip file)/);
        refused++;
      }
    }
    // Both ends are met, so that neither branch is a test of nothing.
    expect(taken).toBeGreaterThan(20);
    expect(refused).toBeGreaterThan(20);
  });
