import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeJpegSet } from "./jpeg-set.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-jpeg-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("the same options make the same files, once", () => {
  const [a, b] = [join(folder, "a"), join(folder, "b")];
  makeJpegSet(a, { count: 6, classes: 3, width: 64 });
  makeJpegSet(b, { count: 6, classes: 3, width: 64 });
  expect(readdirSync(a)).toEqual([".millrace-made.json", "class-00", "class-01", "class-02"]);
  const file = "class-01/0000004.jpg";
  expect(readFileSync(join(a, file))).toEqual(readFileSync(join(b, file)));
  expect(readFileSync(join(a, file))).not.toEqual(readFileSync(join(a, "class-01/0000001.jpg")));
  const { mtimeMs } = statSync(join(a, file));
  makeJpegSet(a, { count: 6, classes: 3, width: 64 });
  expect(statSync(join(a, file)).mtimeMs).toBe(mtimeMs);
});
