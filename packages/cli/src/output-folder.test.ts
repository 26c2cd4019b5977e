import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeOutputFolder } from "./output-folder.ts";

test("the folder of --out is made, or the reason why it cannot be is told with the remedy", () => {
  const dir = mkdtempSync(join(tmpdir(), "millrace-out-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  makeOutputFolder(join(dir, "a/b"));
  expect(existsSync(join(dir, "a/b"))).toBe(true);
  writeFileSync(join(dir, "file"), "");
  for (const [out, reason] of [
    [join(dir, "file"), "in the way"],
    [join(dir, "file/x"), "not a folder"],
    ["/proc/millrace/x", "no folders can be made there"],
  ] as const)
    expect(() => makeOutputFolder(out)).toThrow(
      expect.objectContaining({
        code: "OUTPUT_UNWRITABLE",
        message: expect.stringMatching(new RegExp(`^--out ${out}: .*${reason}`)),
        hint: expect.stringContaining("another folder"),
      }),
    );
});
