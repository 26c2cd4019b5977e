import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { millrace } from "../testing.conformance.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-model-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("model make writes what model info reads; the same flags give the same bytes", async () => {
  const [a, b] = [join(folder, "a.gguf"), join(folder, "b.gguf")];
  const flags = ["--preset", "tiny", "--architecture", "qwen3", "--seed", "7"];
  const made = await millrace("model", "make", ...flags, "--out", a, "--json");
  expect(made.exit).toBe(0);
  expect(JSON.parse(made.out)).toMatchObject({ schema: "millrace.model-make/1", path: a });
  expect((await millrace("model", "make", ...flags, "--out", b)).exit).toBe(0);
  expect(readFileSync(a).equals(readFileSync(b))).toBe(true);
  const info = await millrace("model", "info", a, "--json");
  expect(JSON.parse(info.out)).toMatchObject({
    schema: "millrace.model-info/1",
    architecture: "qwen3",
    fileBytes: readFileSync(a).length,
  });
  expect((await millrace("model", "info", a)).out).toContain("qwen3");
});

test.each([
  [["model"], "USAGE", "make or info"],
  [["model", "mke"], "USAGE", 'did you mean "make"?'],
  [["model", "make"], "USAGE", "--out"],
  [["model", "make", "--preset", "tny", "--out", "no.gguf"], "USAGE", "tiny, mini, small, medium"],
  [["model", "info", "no-such.gguf"], "FILE_UNREADABLE", "no-such.gguf"],
])("%j is refused with a hint", async (argv, code, text) => {
  const { exit, out, err } = await millrace(...argv);
  expect(exit).toBe(2);
  expect(out).toBe("");
  expect(err).toContain(`error[${code}]`);
  expect(err).toContain(text);
});

test("a damaged file is refused by place, and a model that cannot be written leaves nothing", async () => {
  const whole = join(folder, "whole.gguf");
  await millrace("model", "make", "--preset", "tiny", "--out", whole);
  const cut = join(folder, "cut.gguf");
  writeFileSync(cut, readFileSync(whole).subarray(0, 1_000_000));
  const damaged = await millrace("model", "info", cut);
  expect(damaged.exit).toBe(2);
  expect(damaged.err).toMatch(/GGUF_INVALID.*cut\.gguf: at byte \d+/);
  const before = readdirSync(folder);
  const refused = await millrace("model", "make", "--type", "q9", "--out", join(folder, "q.gguf"));
  expect(refused.err).toContain("choose one of f32, f16, q4_0");
  expect(readdirSync(folder)).toEqual(before);
});
