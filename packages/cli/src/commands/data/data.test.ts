import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Loan } from "@millrace/core/job";
import { type Batch, CoordinatedSource, makeJpegSet } from "@millrace/data";
import { afterAll, expect, test } from "vitest";
import { openTokenizer } from "../bench/tokenizer.ts";

const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const bin = fileURLToPath(new URL("../../main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "millrace-data-"));
makeJpegSet(join(folder, "set"), { count: 12, classes: 3, width: 40 });
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
});

function start(...args: string[]) {
  const child = spawn(
    process.execPath,
    ["--conditions=millrace:source", "--import", tsx, bin, "data", ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  children.push(child);
  const text = { out: "", err: "" };
  child.stdout.on("data", (chunk) => {
    text.out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    text.err += chunk;
  });
  const ended = new Promise<number | null>((resolve) =>
    child.once("close", (code) => resolve(code)),
  );
  return { child, text, ended };
}

test("serve says where it listens, prepares for whoever joins, and leaves nothing", async () => {
  const socket = join(folder, "socket");
  const args = ["--batch", "5", "--size", "16", "--producers", "1", "--socket", socket, "--json"];
  args.push("--metrics", "0");
  const { child, text, ended } = start("serve", join(folder, "set"), ...args);
  await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  const about = JSON.parse(text.out);
  expect(about).toMatchObject({
    schema: "millrace.data-serve/1",
    socket,
    batchSize: 5,
    samples: 12,
  });
  expect(text.err).toContain(`are served on ${socket}`);
  {
    await using job = await CoordinatedSource.join({ socket });
    const sizes: number[] = [];
    for (let loan = await job.next(); loan !== null; loan = await job.next()) {
      sizes.push(loan.samples);
      loan.release();
    }
    expect(sizes).toEqual([5, 5, 2]);
    expect(about.decoder).toMatch(/turbo|vips/);
    const page = await (await fetch(about.metrics)).text();
    expect(page).toContain("millrace_data_jobs 1");
  }
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
  expect(existsSync(socket)).toBe(false);
  expect(existsSync(about.ring)).toBe(false);
});

test("text is packed by a tokenizer, and a job reads its tokens", async () => {
  const file = join(folder, "corpus.txt");
  const text = Array.from({ length: 40 }, (_, i) => `Line ${i} of ${i * i} words.`).join("\n");
  writeFileSync(file, text);
  const { tokenizer, close } = await openTokenizer("cl100k_base");
  const expected = (await tokenizer?.encode(text)) ?? [];
  close();
  const socket = join(folder, "tokens");
  const args = ["--tokenizer", "cl100k_base", "--tokens", "16", "--batch", "8", "--no-shuffle"];
  const served = start("serve", file, ...args, "--producers", "1", "--socket", socket, "--json");
  await new Promise<void>((resolve) => served.child.stdout.once("data", () => resolve()));
  {
    await using job = await CoordinatedSource.join({ socket });
    const loan = (await job.next()) as Loan<Batch>;
    const { buffer, byteOffset } = loan.batch.data;
    const rows = new Int32Array(buffer, byteOffset, 8 * 16);
    expect([...rows]).toEqual(expected.slice(0, 8 * 16));
    loan.release();
  }
  served.child.kill("SIGTERM");
  expect(await served.ended).toBe(0);
});

test("inspect tells form, sizes and what cannot be read", async () => {
  const { text, ended } = start("inspect", join(folder, "set"), "--verify", "--json");
  expect(await ended).toBe(0);
  expect(JSON.parse(text.out)).toMatchObject({
    schema: "millrace.data-inspect/1",
    kind: "folder",
    items: 12,
    classes: ["class-00", "class-01", "class-02"],
    first: "class-00/0000000.jpg",
    unreadable: [],
  });
});

test("a path without a data set is an error with a remedy", async () => {
  writeFileSync(join(folder, "notes.md"), "no data");
  const { text, ended } = start("inspect", join(folder, "notes.md"));
  expect(await ended).toBe(2);
  expect(text.err).toMatch(/no form of data set is recognised here[\s\S]*--kind/);
});
