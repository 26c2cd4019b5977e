import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { defaultVectorizer, fitVectorizer, vectorize } from "../text/vectorizer.ts";
import { takeRows } from "./csr.ts";
import { readDataset } from "./dataset.ts";
import { readFilter } from "./filters.ts";
import { readMatrix, readOneFile } from "./sparse.ts";
import { readJsonLines } from "./texts.ts";
import { writeMatrix, writeOneFile } from "./write.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
function file(text: string | Uint8Array, name = `f${files++}.txt`): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test("the one-file form: labels, points without labels, unsorted ids, values with exponents", async () => {
  const path = file("4 5 3\n2,0 4:0.5 1:2\n 0:1e-2\n1\r\n\n");
  const { features, labels } = await readOneFile(path);
  expect([...labels.indptr]).toEqual([0, 2, 2, 3, 3]);
  expect([...labels.indices]).toEqual([0, 2, 1]);
  expect([...features.indices]).toEqual([1, 4, 0]);
  expect([...(features.values ?? [])].map((v) => Number(v.toFixed(6)))).toEqual([2, 0.5, 0.01]);
  expect([...features.indptr]).toEqual([0, 2, 3, 3, 3]);
});

test("matrix files round-trip, plain and gzip, whatever the block size", async () => {
  const path = file("3 70000\n1:0.25 69999:1\n\n5:-3\n");
  const matrix = await readMatrix(path, true);
  const again = join(folder, "again.txt");
  writeMatrix(again, matrix);
  expect(await readMatrix(again, true)).toEqual(matrix);
  const packed = file(gzipSync("3 70000\n1:0.25 69999:1\n\n5:-3\n"), "packed.txt.gz");
  expect(await readMatrix(packed, true)).toEqual(matrix);
  const one = join(folder, "one.txt");
  const labels = await readMatrix(file("3 4\n1:1 2:1\n\n3:1\n"), false);
  writeOneFile(one, matrix, labels);
  expect(await readOneFile(one)).toEqual({ features: matrix, labels });
});

test("bad rows name file and line", async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["2 3\n0:1\n3:1\n", /:3: id 3 is out of range/],
    ["2 3\n0:nan\n0:1\n", /:2: the value of "0:nan" is not a finite number/],
    ["2 3\n0:1\n", /:2: the file ends after 1 rows; its header says 2/],
    ["1 3\n0:1\n1:1\n", /:3: there are more rows/],
    ["1 3\n0:1 0:2\n", /:2: id 0 occurs twice/],
    ["1 3\n0 1\n", /:2: "0" is not of the form id:value/],
    ["3\n", /:1: the header has 1 numbers instead of 2/],
    ["", /:1: the file is empty/],
    ["1 3\n0:1:2\n", /:2: the value of/],
    ["1 3\n0:1e39\n", /:2: the value of "0:1e39" is not a finite number/],
    ["1 5000000000\n4294967297:1\n", /:1: 5000000000 is more than the 2147483647 that ids can/],
  ];
  for (const [text, message] of cases)
    await expect(readMatrix(file(text), true)).rejects.toThrow(message);
  await expect(readOneFile(file("1 2 2\n2 0:1\n"))).rejects.toThrow(/:2: label 2 is out of range/);
  await expect(readOneFile(file("1 2 2\n1,x 0:1\n"))).rejects.toThrow(
    /:2: "x" is not a list of labels/,
  );
  await expect(readMatrix(join(folder, "none.txt"), true)).rejects.toMatchObject({
    code: "FILE_UNREADABLE",
  });
  await expect(
    readMatrix(file(gzipSync("1 3\n0:1\n").subarray(0, 12), "cut.txt.gz"), true),
  ).rejects.toMatchObject({
    code: "DATASET_INVALID",
  });
});

test("filter files: any order, repeats allowed, ranges checked", async () => {
  const filter = await readFilter(file("2 1\n0 3\n2 0\n2 1\n"), 3, 4);
  expect([...filter.indptr]).toEqual([0, 1, 1, 3]);
  expect([...filter.indices]).toEqual([3, 0, 1]);
  await expect(readFilter(file("0 4\n"), 3, 4)).rejects.toThrow(/:1: label 4 is out of range/);
});

test("JSON lines: text, labels, and what is wrong with them", async () => {
  const good = file(
    gzipSync(
      '{"uid":"a","title":"One","content":"two","target_ind":[1,0]}\n{"title":"x","target_ind":[]}\n',
    ),
    "a.json.gz",
  );
  const { texts, labels } = await readJsonLines(good, 2);
  expect(texts).toEqual(["One two", "x"]);
  expect([...(labels?.indices ?? [])]).toEqual([0, 1]);
  await expect(readJsonLines(file('{"title":"a","target_ind":[7]}\n'), 2)).rejects.toThrow(
    /:1: label 7/,
  );
  await expect(readJsonLines(file("{\n"), 2)).rejects.toThrow(/:1: the line is not JSON/);
});

test("a folder of raw text becomes TF-IDF rows of norm 1; mismatched files are told apart", async () => {
  const dir = mkdtempSync(join(folder, "set-"));
  const put = (name: string, text: string): void => writeFileSync(join(dir, name), text);
  put("trn_X.txt", "red fox\nblue fox\n...\nred blue\n");
  put("trn_X_Y.txt", "4 2\n0:1\n1:1\n0:1\n0:1\n");
  put("Y.txt", "red\nblue\n");
  const set = await readDataset(dir);
  expect(set.labelTexts).toEqual(["red", "blue"]);
  const { features } = set.train;
  expect(features.indptr[3]).toBe(4);
  const norm = Math.hypot(...(features.values as Float32Array).subarray(0, 2));
  expect(norm).toBeCloseTo(1, 6);
  put("trn_X.txt", "red fox\n");
  await expect(readDataset(dir)).rejects.toThrow(/trn_X.txt has 1 rows, .*trn_X_Y.txt has 4/);
  await expect(readDataset(join(dir, "nothing"))).rejects.toMatchObject({
    code: "FILE_UNREADABLE",
  });
});

test("rare words weigh more, repeated ones a little more, unknown ones nothing", () => {
  const state = fitVectorizer(["fox a", "fox b", "fox c"], { ...defaultVectorizer, minCount: 1 });
  const rows = vectorize(state, ["fox a", "fox a unknown", "fox fox a"]);
  const ratio = (row: number): number => {
    const [x, y] = [...(rows.values as Float32Array).subarray(2 * row, 2 * row + 2)].sort();
    return y! / x!;
  };
  expect(ratio(0)).toBeCloseTo(Math.log(4) / Math.log(4 / 3), 5);
  expect(ratio(2)).toBeCloseTo(Math.log(4) / (Math.log(4 / 3) * (1 + Math.LN2)), 5);
  expect(takeRows(rows, [1])).toEqual(takeRows(rows, [0]));
  expect(rows.cols).toBe(4);
  expect(fitVectorizer(["fox a", "fox b"]).hashes.length).toBe(1);
});

test("vectors of another encoder: the width follows from the size, and wrong files are told", async () => {
  const dir = mkdtempSync(join(folder, "vectors-"));
  writeFileSync(join(dir, "trn_X_Y.txt"), "2 3\n0:1\n2:1\n");
  const write = (values: readonly number[]): void =>
    writeFileSync(join(dir, "trn_X.f32"), new Uint8Array(Float32Array.from(values).buffer));
  write(Array.from({ length: 16 }, (_, i) => i));
  const { train } = await readDataset(dir, { features: "vectors" });
  expect(train.features.cols).toBe(8);
  expect([...train.features.values!].slice(8, 10)).toEqual([8, 9]);
  write(Array(18).fill(0));
  await expect(readDataset(dir, { features: "vectors" })).rejects.toThrow(/no whole number/);
  write([...Array(9).fill(0), Number.NaN, ...Array(6).fill(0)]);
  await expect(readDataset(dir, { features: "vectors" })).rejects.toThrow(/value 1 of point 1/);
});

test("rows of feature files are brought to norm 1, as the recipes need", async () => {
  const dir = mkdtempSync(join(folder, "norm-"));
  writeFileSync(join(dir, "trn.txt"), "2 3 2\n0 0:3 2:4\n1\n");
  const { train } = await readDataset(dir);
  expect([...train.features.values!].map((v) => Number(v.toFixed(6)))).toEqual([0.6, 0.8]);
  expect(train.features.indptr[2]).toBe(2);
});
