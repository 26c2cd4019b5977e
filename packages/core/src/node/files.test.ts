import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { MillraceError } from "../errors.ts";
import {
  AtomicFileStream,
  loadConfigFile,
  makeFolder,
  readTextFile,
  writeFileAtomic,
} from "./index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function failure(action: () => unknown): MillraceError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    return error as MillraceError;
  }
  return expect.unreachable();
}

test("a missing file is named, with the nearest existing name", () => {
  writeFileSync(join(folder, "run.yaml"), "a: 1");
  mkdirSync(join(folder, "traces"));
  const error = failure(() => readTextFile(join(folder, "rnu.yaml")));
  expect(error.code).toBe("FILE_UNREADABLE");
  expect(error.message).toBe(`${join(folder, "rnu.yaml")}: there is no such file`);
  expect(error.hint).toBe(`did you mean ${join(folder, "run.yaml")}?`);
  expect(failure(() => readTextFile(join(folder, "trace/x.csv"))).hint).toBe(
    `did you mean ${join(folder, "traces")}?`,
  );
  expect(failure(() => readTextFile(join(folder, "zzz"))).hint).toBeUndefined();
  expect(failure(() => readTextFile(folder)).message).toMatch(/folder, not a file/);
  expect(readTextFile(join(folder, "run.yaml"))).toBe("a: 1");
});

test("a folder is made with those above it, and a file system that makes none says so", () => {
  const deep = join(folder, "a/b/c");
  makeFolder(deep, 0o700);
  expect(statSync(deep).mode & 0o777).toBe(0o700);
  makeFolder(deep);
  writeFileSync(join(folder, "file"), "");
  expect(() => makeFolder(join(folder, "file"))).toThrow(/EEXIST/);
  expect(() => makeFolder(join(folder, "file/x"))).toThrow(/ENOTDIR/);
  // Node's recursive mkdir does not return here.
  expect(() => makeFolder("/proc/millrace/x")).toThrow("no folders can be made there");
  expect(failure(() => writeFileAtomic("/proc/millrace/x", "")).code).toBe("OUTPUT_UNWRITABLE");
});

test("writes make folders, replace whole files and leave nothing else", () => {
  const path = join(folder, "a/b/out.json");
  writeFileAtomic(path, "one");
  writeFileAtomic(path, Uint8Array.of(0x74, 0x77, 0x6f));
  expect(readFileSync(path, "utf8")).toBe("two");
  expect(readdirSync(join(folder, "a/b"))).toEqual(["out.json"]);
});

test("a failed write is OUTPUT_UNWRITABLE and leaves no temporary file", () => {
  writeFileSync(join(folder, "file"), "x");
  const below = failure(() => writeFileAtomic(join(folder, "file/out"), "x"));
  expect(below.code).toBe("OUTPUT_UNWRITABLE");
  expect(below.hint).toContain("another place");
  mkdirSync(join(folder, "taken/inner"), { recursive: true });
  expect(failure(() => writeFileAtomic(join(folder, "taken"), "x")).code).toBe("OUTPUT_UNWRITABLE");
  expect(readdirSync(folder).sort()).toEqual(["file", "taken"]);
});

test("a folder is refused before anything is written, and a device is not replaced", () => {
  mkdirSync(join(folder, "taken"));
  const error = failure(() => new AtomicFileStream(join(folder, "taken")));
  expect(error.message).toMatch(/folder, not a file/);
  symlinkSync("/dev/null", join(folder, "null"));
  writeFileAtomic(join(folder, "null"), "x");
  expect(readFileSync(join(folder, "null"), "utf8")).toBe("");
  expect(readdirSync(folder).sort()).toEqual(["null", "taken"]);
});

test("streams appear at commit, whole, and never when discarded", () => {
  const path = join(folder, "big.csv");
  {
    using stream = new AtomicFileStream(path);
    stream.write("dropped");
  }
  expect(readdirSync(folder)).toEqual([]);
  const stream = new AtomicFileStream(path);
  let expected = "";
  for (let i = 0; i < 40_000; i++) {
    stream.write(`line ${i} \ud83d`);
    stream.write("\ude00\n");
    expected += `line ${i} 😀\n`;
  }
  stream.write(Uint8Array.of(33));
  expect(readdirSync(folder)).not.toContain("big.csv");
  stream.commit();
  stream.discard();
  expect(readFileSync(path, "utf8")).toBe(`${expected}!`);
  expect(readdirSync(folder)).toEqual(["big.csv"]);
  expect(() => stream.write("x")).toThrow(/committed or discarded/);
});

test("a configuration file is read with its name as the place", () => {
  const path = join(folder, "run.yaml");
  const schema = z.strictObject({ qps: z.number() });
  writeFileAtomic(path, "qps: 3\n");
  expect(loadConfigFile(path, { schema, set: ["qps=4"] })).toEqual({ qps: 4 });
  writeFileAtomic(path, "qps: x\n");
  expect(failure(() => loadConfigFile(path, { schema })).at).toEqual({
    file: path,
    line: 1,
    column: 6,
  });
});
