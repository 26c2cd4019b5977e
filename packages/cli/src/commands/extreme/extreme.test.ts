import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Texts whose one telling word is the label's. */
function writeSet(): string {
  const animals = ["cat", "dog", "owl", "eel"];
  const lines = (n: number) =>
    Array.from({ length: n }, (_, i) => ({
      label: i % 4,
      text: `the ${animals[i % 4]} number ${i % 7}`,
    }));
  for (const [part, n] of [
    ["trn", 400],
    ["tst", 40],
  ] as const) {
    const rows = lines(n);
    writeFileSync(join(folder, `${part}_X.txt`), rows.map((r) => `${r.text}\n`).join(""));
    writeFileSync(
      join(folder, `${part}_X_Y.txt`),
      `${n} 4\n${rows.map((r) => `${r.label}:1\n`).join("")}`,
    );
  }
  writeFileSync(join(folder, "Y.txt"), `${animals.join("\n")}\n`);
  return folder;
}

test("train, resume, evaluate and predict from raw text", async () => {
  const data = writeSet();
  const out = join(folder, "model");
  const flags = ["--dim", "16", "--lr-classifier", "0.3", "--held-out", "20", "--json"];
  const first = await millrace("extreme", "train", data, "--out", out, "--epochs", "4", ...flags);
  expect(first.exit).toBe(0);
  expect(JSON.parse(first.out)).toMatchObject({
    schema: "millrace.extreme-train/1",
    resumedFrom: 0,
  });
  const again = await millrace(
    "extreme",
    "train",
    data,
    "--out",
    out,
    "--epochs",
    "4",
    "--resume",
    ...flags,
  );
  expect(JSON.parse(again.out)).toMatchObject({ resumedFrom: 4 });
  const evaluated = await millrace("extreme", "evaluate", out, data, "--cutoffs", "1,2", "--json");
  expect(JSON.parse(evaluated.out)).toMatchObject({
    points: 40,
    at: [
      { k: 1, precision: 1 },
      { k: 2, precision: 0.5 },
    ],
  });
  const predicted = await millrace("extreme", "predict", out, "--text", "an owl", "-k", "1");
  expect(predicted.out).toMatch(/an owl\n {2}owl 0\.\d+/);
});

test("mistakes are told before any work is done", async () => {
  const cases = [
    [["train", folder], /no folder is named/],
    [["train", join(folder, "none"), "--out", "x"], /is not a folder with a data set/],
    [["train", folder, "--out", "x", "--dim", "12"], /--dim: expected a multiple of 8/],
    [["train", folder, "--out", "x", "--patience", "2"], /--patience needs points to watch/],
    [["predict", folder, "--text", "a"], /holds no model/],
  ] as const;
  for (const [args, message] of cases) {
    const { exit, err } = await millrace("extreme", ...args);
    expect(exit).toBe(2);
    expect(err).toMatch(message);
  }
});
