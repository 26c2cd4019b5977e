import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { executorConformance } from "../executor.conformance.ts";
import type { Job, Outcome } from "../executor.ts";
import { ForkPool } from "./fork-pool.ts";
import type { KillInput } from "./pool-task.conformance.ts";

executorConformance(
  "ForkPool",
  () =>
    new ForkPool({
      module: new URL("../executor-task.conformance.ts", import.meta.url),
      workers: 2,
    }),
);

const module = new URL("./pool-task.conformance.ts", import.meta.url);
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-pool-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const living = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    // A killed child of a process that is gone may remain as a zombie where nobody reaps it.
    return !/^State:\s+Z/m.test(
      existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, "utf8") : "",
    );
  } catch {
    return false;
  }
};

async function collect<O>(outcomes: AsyncIterable<Outcome<O>>): Promise<Map<string, Outcome<O>>> {
  const found = new Map<string, Outcome<O>>();
  for await (const outcome of outcomes) found.set(outcome.id, outcome);
  return found;
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await setTimeout(5);
};

test("a job whose worker is killed is done again, the others are not disturbed", async () => {
  await using pool = new ForkPool<KillInput, number>({ module, workers: 2 });
  const jobs: Job<KillInput>[] = Array.from({ length: 20 }, (_, i) => ({
    id: `j${i}`,
    input: i % 5 === 0 ? { kind: "die", log: join(folder, `${i}`), times: 1 } : { kind: "pid" },
  }));
  const found = await collect(pool.run(jobs));
  expect(found.size).toBe(20);
  for (const outcome of found.values()) expect(outcome.ok).toBe(true);
});

test("a job that always kills its worker fails after its retries", async () => {
  await using pool = new ForkPool<KillInput, number>({ module, workers: 1, retries: 2 });
  const log = join(folder, "log");
  const found = await collect(
    pool.run([
      { id: "bad", input: { kind: "die", log, times: 99 } },
      { id: "good", input: { kind: "pid" } },
    ]),
  );
  expect(found.get("bad")).toEqual({
    id: "bad",
    ok: false,
    error: "the job ended 2 workers (SIGKILL)",
  });
  expect(found.get("good")?.ok).toBe(true);
  expect(readFileSync(log, "utf8").trim().split("\n")).toHaveLength(2);
});

test("abort kills children that hang, and the pool goes on", async () => {
  await using pool = new ForkPool<KillInput, number>({ module, workers: 1 });
  const log = join(folder, "log");
  const stop = new AbortController();
  const run = collect(pool.run([{ id: "hang", input: { kind: "hang", log } }], stop.signal));
  await until(() => existsSync(log) && readFileSync(log, "utf8").endsWith("\n"));
  const pid = Number(readFileSync(log, "utf8"));
  expect(living(pid)).toBe(true);
  stop.abort();
  expect((await run).size).toBe(0);
  expect(living(pid)).toBe(false);
  expect((await collect(pool.run([{ id: "a", input: { kind: "pid" } }]))).size).toBe(1);
});

test("no child outlives disposal, also in the middle of a run", async () => {
  const pool = new ForkPool<KillInput, number>({ module, workers: 2 });
  const log = join(folder, "log");
  const run = collect(
    pool.run([
      { id: "hang", input: { kind: "hang", log } },
      { id: "p", input: { kind: "pid" } },
    ]),
  );
  await until(() => existsSync(log));
  const { pids } = pool;
  expect(pids).toHaveLength(2);
  await pool[Symbol.asyncDispose]();
  expect(pids.filter(living)).toEqual([]);
  expect((await run).has("hang")).toBe(false);
  expect((await collect(pool.run([{ id: "late", input: { kind: "pid" } }]))).size).toBe(0);
});

test("many workers raise no warning about listeners", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on("warning", note);
  const path = join(folder, "m.mjs");
  writeFileSync(path, "export const run = (x) => x;");
  await using pool = new ForkPool<number, number>({ module: pathToFileURL(path), workers: 12 });
  const jobs = Array.from({ length: 24 }, (_, i) => ({ id: `${i}`, input: i }));
  expect((await collect(pool.run(jobs))).size).toBe(24);
  process.off("warning", note);
  expect(warnings).toEqual([]);
});

test("runs share the workers; leaving one does not wait for the other", async () => {
  await using pool = new ForkPool<KillInput, number>({ module, workers: 1 });
  const log = join(folder, "log");
  const stop = new AbortController();
  const first = collect(pool.run([{ id: "hang", input: { kind: "hang", log } }], stop.signal));
  await until(() => existsSync(log));
  const leaving = new AbortController();
  const second = collect(pool.run([{ id: "a", input: { kind: "pid" } }], leaving.signal));
  const third = collect(pool.run([{ id: "b", input: { kind: "pid" } }]));
  leaving.abort();
  expect((await second).size).toBe(0);
  stop.abort();
  expect((await first).size).toBe(0);
  expect((await third).get("b")?.ok).toBe(true);
});

test("children end when their parent is killed", async () => {
  const log = join(folder, "log");
  const program = join(folder, "parent.mts");
  const text = `import { ForkPool } from ${JSON.stringify(new URL("./fork-pool.ts", import.meta.url).href)};
const pool = new ForkPool({ module: new URL(${JSON.stringify(module.href)}), workers: 1 });
const job = { id: "hang", input: { kind: "hang", log: ${JSON.stringify(log)} } };
for await (const _ of pool.run([job]));
`;
  writeFileSync(program, text);
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const parent = spawn(process.execPath, ["--import", tsx, program], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  await until(() => existsSync(log) && readFileSync(log, "utf8").endsWith("\n"));
  const pid = Number(readFileSync(log, "utf8"));
  expect(living(pid)).toBe(true);
  parent.kill("SIGKILL");
  await until(() => !living(pid));
});

test("a module that cannot be loaded, or exports no run, rejects the run", async () => {
  for (const text of ["export const other = 1;", "throw new Error('no such library');"]) {
    const path = join(folder, `m${text.length}.mjs`);
    writeFileSync(path, text);
    await using pool = new ForkPool({ module: pathToFileURL(path), workers: 1 });
    await expect(collect(pool.run([{ id: "a", input: 1 }]))).rejects.toMatchObject({
      code: "ENVIRONMENT_MISSING",
      message: expect.stringMatching(/does not export|no such library/),
    });
  }
});

test("inputs and values that cannot be cloned are failed outcomes", async () => {
  const path = join(folder, "m.mjs");
  writeFileSync(path, "export const run = (x) => (x === 1 ? () => 1 : x);");
  await using pool = new ForkPool<unknown, unknown>({ module: pathToFileURL(path), workers: 1 });
  const found = await collect(
    pool.run([
      { id: "value", input: 1 },
      { id: "input", input: () => 2 },
      { id: "fine", input: { list: Float64Array.of(1, 2) } },
    ]),
  );
  expect(found.get("value")).toMatchObject({ ok: false, error: expect.stringMatching(/cloned/) });
  expect(found.get("input")).toMatchObject({ ok: false, error: expect.stringMatching(/cloned/) });
  expect(found.get("fine")).toMatchObject({ ok: true, value: { list: Float64Array.of(1, 2) } });
});
