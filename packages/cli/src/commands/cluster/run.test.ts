import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "cluster-run-"));
afterAll(() => rmSync(folder, { recursive: true }));

const jobs = join(folder, "jobs.yaml");
const state = ["--state", join(folder, "state")] as const;
writeFileSync(
  jobs,
  `cluster:
  round: 1s
  bound: taskset
  servers: [{ name: here, gpus: 2, cpus: 2, hostMemory: 1GB }]
jobs:
  - { id: says, command: [echo, "$HOME; ls"], duration: 1s }
  - { id: too-large, command: [echo], gpus: 3 }
`,
);

test("run executes a file's jobs, names what it rejects, and status reads the journal", async () => {
  const ran = await millrace("cluster", "run", jobs, ...state, "--json");
  expect(ran.exit).toBe(1);
  const result = JSON.parse(ran.out);
  expect(result).toMatchObject({ schema: "millrace.cluster-run/1", ended: "finished" });
  expect(result.jobs).toMatchObject([
    { id: "says", state: "done", attempt: 1 },
    { id: "too-large", state: "rejected", reason: "it needs 3 GPUs and the cluster has 2" },
  ]);
  // No shell has seen the argument.
  expect(readFileSync(join(folder, "state/logs/says.log"), "utf8")).toBe("$HOME; ls\n");
  const status = await millrace("cluster", "status", ...state);
  expect(status.exit).toBe(0);
  expect(status.out).toMatch(/says +done/);
  expect(status.err).toMatch(/no scheduler runs here/);
  const cancel = await millrace("cluster", "cancel", "says", ...state);
  expect(cancel.exit).toBe(2);
  expect(cancel.err).toMatch(/job says has ended already: done/);
});

test("cancel and drain need no scheduler", async () => {
  const path = join(folder, "long.yaml");
  const there = ["--state", join(folder, "absent")] as const;
  const gate = join(folder, "begun");
  writeFileSync(
    path,
    JSON.stringify({
      cluster: {
        bound: "taskset",
        servers: [{ name: "here", gpus: 1, cpus: 1, hostMemory: "1GB" }],
      },
      jobs: [
        { id: "long", command: ["sh", "-c", `echo > ${gate}; exec sleep 1000`] },
        { id: "next", command: ["true"] },
      ],
    }),
  );
  const program = fileURLToPath(new URL("../../main.ts", import.meta.url));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const scheduler = spawn(
    process.execPath,
    ["--conditions=millrace:source", "--import", tsx, program, "cluster", "run", path, ...there],
    { stdio: "ignore" },
  );
  const gone = once(scheduler, "exit");
  await expect.poll(() => existsSync(gate), { timeout: 30_000 }).toBe(true);
  scheduler.kill("SIGKILL");
  await gone;
  const drain = await millrace("cluster", "drain", "here", ...there);
  expect(drain.exit).toBe(0);
  expect(drain.err).toMatch(/here is drained from the next millrace cluster run on/);
  expect(drain.err).toMatch(/this job goes on there, to the end: long/);
  const nowhere = await millrace("cluster", "drain", "there", ...there);
  expect(nowhere.exit).toBe(2);
  expect(nowhere.err).toMatch(/there is no server there/);
  const cancel = await millrace("cluster", "cancel", "long", "next", ...there, "--json");
  expect(cancel.exit).toBe(0);
  expect(JSON.parse(cancel.out)).toEqual({
    schema: "millrace.cluster-cancel/1",
    scheduler: false,
    cancelled: ["long", "next"],
    pending: [],
    problem: null,
  });
  const status = await millrace("cluster", "status", ...there);
  expect(status.out).toMatch(/long +cancelled/);
  expect(status.out).toMatch(/draining: here/);
  const all = await millrace("cluster", "drain", ...there);
  expect(all.err).toMatch(/no scheduler runs here, so nothing is started/);
}, 60_000);

test("a file that is wrong is named with its place", async () => {
  const wrong = join(folder, "wrong.yaml");
  writeFileSync(wrong, "jobs:\n  - { id: a, comand: [x] }\n");
  const ran = await millrace("cluster", "run", wrong, ...state);
  expect(ran.exit).toBe(2);
  expect(ran.err).toMatch(/wrong\.yaml:2/);
  writeFileSync(wrong, "jobs:\n  - { id: a, command: [x] }\n  - { id: a, command: [x] }\n");
  const twice = await millrace("cluster", "run", wrong, "--state", join(folder, "other"));
  expect(twice.exit).toBe(2);
  expect(twice.err).toMatch(/two jobs have the id a/);
  const nowhere = await millrace("cluster", "status", "--state", join(folder, "nowhere"));
  expect(nowhere.exit).toBe(2);
});
