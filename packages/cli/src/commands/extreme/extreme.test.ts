import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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
  const train = (...more: string[]) =>
    millrace(
      ...["extreme", "train", "--data", data, "--out", out, "--trainer", "astra", "--epochs", "4"],
      ...["--seed", "3", "--dim", "16", "--lr-classifier", "0.3", "--held-out", "20", "--json"],
      ...more,
    );
  const first = await train();
  expect(first.err).toBe("");
  expect(first.exit).toBe(0);
  const trained = JSON.parse(first.out);
  expect(trained).toMatchObject({
    schema: "millrace.extreme-train/1",
    trainer: "astra",
    resumedFrom: 0,
    metrics: { p1: 100, psp1: 100, ndcg5: 100 },
  });
  expect(trained.metrics.p5).toBeCloseTo(20, 9);
  expect(trained.epochs.map((e: { epoch: number }) => e.epoch)).toEqual([1, 2, 3, 4]);
  expect(trained.epochs.at(-1).loss).toBeLessThan(trained.epochs[0].loss);
  expect(JSON.parse((await train("--resume")).out)).toMatchObject({ resumedFrom: 4 });
  const scores = join(folder, "scores.txt");
  const written = await millrace(
    ...["extreme", "predict", "-m", out, "-d", data, "-k", "2", "-o", scores],
  );
  expect(written.exit).toBe(0);
  for (const source of [
    ["--predictions", scores],
    ["--model", out],
  ] as const) {
    const evaluated = await millrace(
      ...["extreme", "eval", "--data", data, ...source, "--cutoffs", "1,2", "--json"],
    );
    expect(JSON.parse(evaluated.out)).toMatchObject({
      schema: "millrace.extreme-eval/1",
      points: 40,
      metrics: { p1: 100, p2: 50, recall2: 100 },
    });
  }
  const predicted = await millrace("extreme", "predict", "-m", out, "--text", "an owl", "-k", "1");
  expect(predicted.out).toMatch(/an owl\n {2}owl 0\.\d+/);
});

test("label texts can be trained on, and refreshes run beside training", async () => {
  const out = join(folder, "augmented");
  const trained = await millrace(
    ...["extreme", "train", "-d", writeSet(), "-o", out, "--label-texts", "--refresh", "async"],
    ...["--epochs", "3", "--dim", "16", "--lr-classifier", "0.3", "--json"],
  );
  expect(trained.err).toBe("");
  expect(JSON.parse(trained.out).metrics.p1).toBe(100);
});

test("labels are added and removed as new model folders", async () => {
  const [from, more, less] = [join(folder, "new.txt"), join(folder, "more"), join(folder, "less")];
  writeFileSync(from, "emu\tthe number 3\tnumber 3\n");
  const model = join(folder, "model");
  const added = await millrace("extreme", "add-labels", "-m", model, "--from", from, "-o", more);
  expect(added.err).toBe("");
  expect(added.out).toContain("5 labels can be ranked");
  const removed = await millrace(
    ...["extreme", "remove-labels", "-m", more, "--ids", "2", "-o", less, "--json"],
  );
  expect(JSON.parse(removed.out)).toMatchObject({ removed: 1, labels: 4 });
  const ranked = await millrace(
    ...["extreme", "predict", "-m", less, "--text", "owl number 3", "-k", "5", "--json"],
  );
  const names = JSON.parse(ranked.out).points[0].labels.map((l: { name: string }) => l.name);
  expect(names).toContain("emu");
  expect(names).not.toContain("owl");
  const again = await millrace("extreme", "add-labels", "-m", model, "--from", from, "-o", more);
  expect(again.err).toMatch(/holds a model already/);
  const unknown = await millrace("extreme", "remove-labels", "-m", model, "--ids", "9", "-o", "x");
  expect(unknown.err).toMatch(/there is no label 9/);
});

test("samplers are compared, with a report", async () => {
  const report = join(folder, "compare.html");
  const compared = await millrace(
    ...["extreme", "compare", "-d", writeSet(), "--trainers", "astra,full,importance"],
    ...["--seeds", "1,2", "--dim", "16", "--epochs", "3", "--lr-classifier", "0.3", "-o", report],
    "--json",
  );
  expect(compared.err).toBe("");
  const { trainers, watched } = JSON.parse(compared.out);
  expect(watched).toBe("test");
  expect(trainers.map((t: { trainer: string }) => t.trainer)).toEqual([
    "astra",
    "full",
    "importance",
  ]);
  expect(trainers[1].runs.map((run: { seed: number }) => run.seed)).toEqual([1, 2]);
  expect(trainers[1].runs[0].curve.length).toBe(3);
  expect(trainers[1].secondsToFull).toBeGreaterThan(0);
  const html = readFileSync(report, "utf8");
  expect(html).toContain("P@1 against CPU time");
  expect(html).toMatch(/astra is .* points of P@1/);
});

test("a run is estimated, from sizes and beside a measured one", async () => {
  const imagined = await millrace(
    ...["extreme", "estimate", "--labels", "1000000", "--points", "3000000", "--workers", "4"],
    ...["--preset", "fast", "--json"],
  );
  const { predicted } = JSON.parse(imagined.out);
  expect(predicted.pairsPerPoint).toBeCloseTo(512 + 32 + 2.3, 6);
  expect(predicted.refreshes).toBe(3);
  expect(predicted.trafficBytesPerStep).toBe(2 * 4 * 256 * 128 * 3);
  const flags = ["--dim", "16", "--sampler", "x"];
  expect((await millrace("extreme", "estimate", ...flags)).exit).toBe(2);
  const checked = await millrace(
    ...["extreme", "estimate", "-d", writeSet(), "--dim", "16", "--check", "--json"],
  );
  const { predicted: told, measured } = JSON.parse(checked.out);
  expect(told.pairsPerPoint).toBeCloseTo(measured.pairsPerPoint, 6);
  expect(told.scanPairsPerPoint).toBe(measured.scanPairsPerPoint);
});

test("a data set is fetched by a manifest, checked, and never kept when it is wrong", async () => {
  const text = "2 3\n0:1\n2:1\n";
  const server = createServer((request, response) => {
    if (request.url === "/good.txt") response.end(text);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const hash = createHash("sha256").update(text).digest("hex");
  const manifest = (file: string, sha256: string): string => {
    const path = join(folder, `set-${sha256.slice(0, 4)}-${file}.json`);
    const url = `http://127.0.0.1:${port}/${file}`;
    const files = [{ name: "trn_X_Y.txt", url, sha256, bytes: text.length }];
    writeFileSync(path, JSON.stringify({ name: "set", about: "a set", licence: "none", files }));
    return path;
  };
  const out = join(folder, "fetched");
  const get = (file: string, to: string) => millrace("extreme", "get", file, "-o", to, "--json");
  expect(JSON.parse((await get(manifest("good.txt", hash), out)).out)).toMatchObject({
    fetched: ["trn_X_Y.txt"],
  });
  expect(readFileSync(join(out, "trn_X_Y.txt"), "utf8")).toBe(text);
  expect(JSON.parse((await get(manifest("good.txt", hash), out)).out).fetched).toEqual([]);
  const wrong = await get(manifest("good.txt", "0".repeat(64)), join(folder, "wrong"));
  expect(wrong.err).toMatch(/the checksum differs/);
  expect(readdirSync(join(folder, "wrong"))).toEqual([]);
  expect((await get(manifest("gone.txt", hash), join(folder, "gone"))).err).toMatch(/answers 404/);
  expect((await get("lf-amazontitles", out)).err).toMatch(/no data set is called/);
  expect((await millrace("extreme", "get")).out).toContain("LF-AmazonTitles-131K");
  await new Promise((resolve) => server.close(resolve));
});

test("predictions of others: ties, filtered pairs, and what is wrong with a file", async () => {
  const data = mkdtempSync(join(folder, "ties-"));
  const put = (name: string, text: string): string => {
    writeFileSync(join(data, name), text);
    return join(data, name);
  };
  put("trn_X_Xf.txt", "2 2\n0:1\n1:1\n");
  put("trn_X_Y.txt", "2 3\n0:1\n1:1 2:1\n");
  put("tst_X_Xf.txt", "2 2\n0:1\n1:1\n");
  put("tst_X_Y.txt", "2 3\n2:1\n0:1\n");
  put("filter_labels_test.txt", "1 1\n");
  const evaluate = (text: string, ...more: string[]) =>
    millrace(
      ...["extreme", "eval", "--data", data, "--predictions", put("p.txt", text)],
      ...["--cutoffs", "1", "--json", ...more],
    );
  const p1 = async (text: string, ...more: string[]): Promise<number> =>
    JSON.parse((await evaluate(text, ...more)).out).metrics.p1;
  // Point 0 ties labels 0 and 2; point 1 puts the filtered label 1 first, then the true label 0.
  expect(await p1("0:1 2:1\n1:5 0:2\n")).toBe(50);
  expect(await p1("0:1 2:1\n1:5 0:2\n", "--compat", "pyxclib")).toBe(100);
  for (const [text, message] of [
    ["0:1\n", /p\.txt:2: the file ends after 1 of 2 test points/],
    ["0:1\n0:1\n0:1\n", /p\.txt:3: there are more lines than the 2 test points/],
    ["0:1\n3:1\n", /p\.txt:2: id 3 is out of range/],
    ["0:x\n\n", /p\.txt:1: the value of .*0:x.* is not a finite number/],
  ] as const) {
    const { exit, err } = await evaluate(text);
    expect(exit).toBe(2);
    expect(err).toMatch(message);
  }
});

test("mistakes are told before any work is done", async () => {
  const cases = [
    [["train", "--data", folder], /no folder is named/],
    [["train", "--out", "x"], /no data set is named/],
    [["train", "-d", join(folder, "none"), "--out", "x"], /is not a folder with a data set/],
    [["train", "-d", folder, "--out", "x", "--dim", "12"], /--dim: expected a multiple of 8/],
    [["train", "-d", folder, "--out", "x", "--patience", "2"], /--patience needs points to watch/],
    [["train", "-d", folder, "--out", "x", "--trainer", "astro"], /astro/],
    [["predict", "-m", folder, "--text", "a"], /holds no model/],
    [["eval", "-d", folder], /name one of --predictions and --model/],
  ] as const;
  for (const [args, message] of cases) {
    const { exit, err } = await millrace("extreme", ...args);
    expect(exit).toBe(2);
    expect(err).toMatch(message);
  }
});
