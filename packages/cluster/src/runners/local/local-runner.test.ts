import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ControlGroup, readLimits } from "@millrace/system";
import { expect, test } from "vitest";
import {
  type Behaviour,
  type RunnerRig,
  runnerConformance,
  settled,
  shellPrograms,
} from "../runner.conformance.ts";
import type { GrantedSlice, RunnerJob } from "../runner.ts";
import { type BoundKind, offeredBounds } from "./bounds.ts";
import { LocalRunner } from "./local-runner.ts";
import { attemptFolder, readAttempt } from "./records.ts";

async function localRig(bound: BoundKind) {
  const dir = mkdtempSync(join(tmpdir(), "millrace-local-"));
  const runners: LocalRunner[] = [];
  const server = { gpus: 2, cpus: 4, hostBytes: 8e9 };
  const options = {
    state: join(dir, "state"),
    cluster: `test-${process.pid}`,
    servers: [
      { name: "left", ...server },
      { name: "right", ...server },
    ],
    bound,
  };
  let fence = 100;
  const rig = {
    dir,
    options,
    open: async () => {
      const runner = new LocalRunner(options);
      runners.push(runner);
      return runner;
    },
    job: (id: string, behaviour: Behaviour, gpus = 1): RunnerJob => ({
      id,
      argv:
        behaviour === "missing"
          ? [join(dir, "no-such-program")]
          : ["sh", "-c", shellPrograms[behaviour].replace("MARK", join(dir, `${id}.mark`))],
      directory: dir,
      environment: {},
      user: null,
      logFile: join(dir, "logs", `${id}.log`),
      gpus,
      graceSeconds: 1,
      image: null,
    }),
    starts: (id: string) => {
      const mark = join(dir, `${id}.mark`);
      return existsSync(mark) ? readFileSync(mark, "utf8").length : 0;
    },
    [Symbol.asyncDispose]: async () => {
      const last = new LocalRunner(options);
      await last.takeOver(fence++);
      for (const { id } of await last.observe()) await last.remove(id);
      await settled(last, (jobs) => jobs.length === 0);
      rmSync(dir, { recursive: true });
    },
  };
  return rig satisfies RunnerRig;
}

runnerConformance("the local runner with taskset", () => localRig("taskset"));
if (offeredBounds() === "cgroup")
  runnerConformance("the local runner with cgroups", () => localRig("cgroup"));

const slice = (cpus: number, hostBytes = 1e9): GrantedSlice => ({
  server: "left",
  gpus: [1],
  cpus,
  hostBytes,
  cacheBytes: 5e8,
  numa: null,
});

test("a program's log is appended over its starts, and its variables say what it was granted", async () => {
  const rig = await localRig("taskset");
  await using _ = rig;
  const runner = await rig.open();
  await runner.takeOver(1);
  const argv = [
    "sh",
    "-c",
    "echo $MILLRACE_ATTEMPT $MILLRACE_CPUS $CUDA_VISIBLE_DEVICES $MILLRACE_CACHE_BYTES $MINE",
  ] as const;
  await runner.submit({ ...rig.job("says", "ends"), argv, environment: { MINE: "my own" } });
  for (const attempt of [1, 2]) {
    await runner.start({ id: "says", attempt, slices: [slice(1)] });
    await settled(runner, ([job]) => job?.attempt === attempt && job.phase === "ended");
  }
  expect(readFileSync(join(rig.dir, "logs/says.log"), "utf8")).toBe(
    "1 1 1 500000000 my own\n2 1 1 500000000 my own\n",
  );
});

test.runIf(offeredBounds() === "cgroup")(
  "a scheduler that is in other control groups finds those of the one before it",
  async () => {
    const rig = await localRig("cgroup");
    await using _ = rig;
    const runner = await rig.open();
    await runner.takeOver(1);
    await runner.submit(rig.job("left", "stays"));
    await runner.start({ id: "left", attempt: 1, slices: [slice(1)] });
    await settled(runner, ([job]) => job?.phase === "running");
    // A login session or a service of its own: this process moves there and starts anew.
    using session = ControlGroup.make(`millrace-session-${process.pid}`, ["cpu"]);
    session.add(process.pid);
    const later = await rig.open();
    await later.takeOver(2);
    expect(await later.resize({ id: "left", attempt: 1, slices: [slice(2)] })).toBe("done");
    const { child } = readAttempt(attemptFolder(rig.options.state, "left", 1));
    const text = (path: string): string | null => {
      const file = path.replace("self", `${child?.pid}`);
      return existsSync(file) ? readFileSync(file, "utf8") : null;
    };
    expect(readLimits(text).cpuQuota).toBe(2);
    const groups = text("/proc/self/cgroup");
    expect(groups).toContain("-left-1");
    expect(groups).not.toContain(session.name);
    await later.stop("left", 1);
    const [left] = await settled(later, ([job]) => job?.phase === "ended");
    expect(left?.outcome).toMatchObject({ kind: "killed" });
  },
);

test("taskset pins a program, and pins it anew while it runs", async () => {
  const rig = await localRig("taskset");
  await using _ = rig;
  const runner = await rig.open();
  await runner.takeOver(1);
  await runner.submit(rig.job("pinned", "stays"));
  await runner.start({ id: "pinned", attempt: 1, slices: [slice(1)] });
  await settled(runner, ([job]) => job?.phase === "running");
  const folder = attemptFolder(rig.options.state, "pinned", 1);
  const allowed = (): string => {
    const { child } = readAttempt(folder);
    const status = readFileSync(`/proc/${child?.pid}/status`, "utf8");
    return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
  };
  expect(allowed()).toBe(String(readAttempt(folder).grant?.cores?.[0]));
  await runner.resize({ id: "pinned", attempt: 1, slices: [slice(2)] });
  expect(allowed()).not.toBe("");
  expect(readAttempt(folder).grant?.cores?.join(",")).toBe(
    allowed()
      .split("-")
      .filter((v, i, all) => i === 0 || v !== all[0])
      .join(","),
  );
});

test("a keeper that is killed leaves a program that is watched and stopped without it", async () => {
  const rig = await localRig("taskset");
  await using _ = rig;
  const runner = await rig.open();
  await runner.takeOver(1);
  await runner.submit(rig.job("orphan", "deaf"));
  await runner.start({ id: "orphan", attempt: 1, slices: [slice(1)] });
  await settled(runner, ([job]) => job?.phase === "running" && rig.starts("orphan") === 1);
  const { claim, child } = readAttempt(attemptFolder(rig.options.state, "orphan", 1));
  if (claim === null || "nobody" in claim || child === null) throw new Error("nobody keeps it");
  process.kill(claim.pid, "SIGKILL");
  const next = await rig.open();
  await next.takeOver(2);
  await settled(next, ([job]) => job?.phase === "running");
  await next.stop("orphan", 1);
  const [seen] = await settled(next, ([job]) => job?.phase === "ended");
  expect(seen?.outcome).toMatchObject({ kind: "lost" });
});

test("a start that its scheduler did not live to finish is decided once, by who comes next", async () => {
  const rig = await localRig("taskset");
  await using _ = rig;
  const first = await rig.open();
  await first.takeOver(1);
  await first.submit(rig.job("half", "ends"));
  const giveUp = new AbortController();
  giveUp.abort(new Error("the scheduler is killed here"));
  // The folder of the attempt is made, its keeper never gets the word to begin.
  await expect(
    first.start({ id: "half", attempt: 1, slices: [slice(1)] }, giveUp.signal),
  ).rejects.toThrow(/did not start/);
  const next = await rig.open();
  // Who only looks decides nothing.
  expect(await next.observe()).toMatchObject([{ phase: "starting", attempt: 1 }]);
  await next.takeOver(2);
  expect(await next.observe()).toMatchObject([{ phase: "ended", outcome: { kind: "lost" } }]);
  await next.start({ id: "half", attempt: 1, slices: [slice(1)] });
  expect(rig.starts("half")).toBe(0);
  await next.start({ id: "half", attempt: 2, slices: [slice(1)] });
  const [seen] = await settled(next, ([job]) => job?.phase === "ended");
  expect(seen).toMatchObject({ attempt: 2, outcome: { kind: "exited", code: 0 } });
  expect(rig.starts("half")).toBe(1);
});

const root = process.getuid?.() === 0;

test.runIf(root)(
  "a job of another user runs as that user, and cannot read another's lease",
  async () => {
    const rig = await localRig("taskset");
    await using _ = rig;
    const runner = await rig.open();
    await runner.takeOver(1);
    const nobodyUser = { name: "nobody", uid: 65534, gid: 65534 };
    const log = join(tmpdir(), `millrace-nobody-${process.pid}.log`);
    const other = attemptFolder(rig.options.state, "ours", 1);
    await runner.submit({ ...rig.job("ours", "ends"), environment: { MILLRACE_LEASE_TOKEN: "x" } });
    await runner.start({ id: "ours", attempt: 1, slices: [slice(1)] });
    await settled(runner, (jobs) => jobs.every((job) => job.phase === "ended"));
    const { chmodSync } = await import("node:fs");
    chmodSync(rig.dir, 0o755);
    await runner.submit({
      ...rig.job("theirs", "ends"),
      argv: ["sh", "-c", `id -u; cat ${other}/order.json; echo $SECRET; exit 0`],
      directory: "/",
      user: nobodyUser,
      logFile: log,
    });
    process.env["SECRET"] = "of the scheduler";
    await runner.start({ id: "theirs", attempt: 1, slices: [slice(1)] });
    delete process.env["SECRET"];
    const jobs = await settled(runner, (all) => all.every((job) => job.phase === "ended"));
    expect(jobs.find((job) => job.id === "theirs")?.outcome).toEqual({ kind: "exited", code: 0 });
    const said = readFileSync(log, "utf8");
    rmSync(log);
    expect(said).toMatch(/^65534\n/);
    expect(said).toMatch(/Permission denied/);
    expect(said).not.toMatch(/MILLRACE_LEASE_TOKEN|of the scheduler/);
  },
);
