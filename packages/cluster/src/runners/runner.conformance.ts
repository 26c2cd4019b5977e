/** What every Runner must do; call it from the test file of an implementation. Nothing here looks at a clock. */
import { afterEach, describe, expect, test } from "vitest";
import type { GrantedSlice, Observed, Runner, RunnerJob } from "./runner.ts";

/**
 * How a test job behaves: `ends` at once with exit code 0; `fails` at once with exit code 3; `stays` until asked to stop,
 * then ends at once; `deaf` ignores being asked; `missing` names a program that is not there.
 */
export type Behaviour = "ends" | "fails" | "stays" | "deaf" | "missing";

/** The behaviours as programs of a shell; each start leaves a line in the file that replaces MARK. */
export const shellPrograms: Readonly<Record<Behaviour, string>> = {
  ends: "echo >> MARK",
  fails: "echo >> MARK; exit 3",
  stays: "echo >> MARK; exec sleep 1000",
  deaf: "trap '' TERM; echo >> MARK; while :; do sleep 0.05; done",
  missing: "",
};

/** One engine with at least two servers of at least 2 GPUs, 4 CPUs and 8 GB that holds no jobs yet. */
export interface RunnerRig extends AsyncDisposable {
  /** A runner on the engine, as every new scheduler makes one; the rig disposes of all. */
  open(): Promise<Runner>;
  /** A job for 1 GPU (2 where `gpus` says so) with a grace of 1 s. */
  job(id: string, behaviour: Behaviour, gpus?: number): RunnerJob;
  /** How often the job's program was really started: counted by the program or by what runs it, not by the runner. */
  starts(id: string): number | Promise<number>;
  /** Takes a server away with all that runs on it; absent where the engine has none to lose. */
  loseServer?(name: string): Promise<void>;
}

const GB = 1e9;

/** Registers the suite; `make` builds an engine for each test. */
export function runnerConformance(name: string, make: () => Promise<RunnerRig>): void {
  describe(`${name} is a Runner`, () => {
    let rig: RunnerRig;
    const begin = async (fence = 1): Promise<Runner> => {
      rig = await make();
      const runner = await rig.open();
      await runner.takeOver(fence);
      return runner;
    };
    afterEach(async () => {
      await rig[Symbol.asyncDispose]();
    });

    test("servers are listed with what they have", async () => {
      const runner = await begin();
      const servers = await runner.servers();
      expect(servers.length).toBeGreaterThanOrEqual(2);
      expect(new Set(servers.map((server) => server.name)).size).toBe(servers.length);
      for (const { condition, gpus, cpus, hostBytes } of servers) {
        expect(condition).toBe("up");
        expect(gpus).toBeGreaterThanOrEqual(2);
        expect(cpus).toBeGreaterThanOrEqual(4);
        expect(hostBytes).toBeGreaterThanOrEqual(8 * GB);
      }
    });

    test("a submitted job is held and runs nothing; submitting it again changes nothing", async () => {
      const runner = await begin();
      const job = rig.job("waits", "stays");
      await runner.submit(job);
      await runner.submit(job);
      expect(await runner.observe()).toEqual([
        { id: "waits", phase: "held", attempt: 0, held: [], outcome: null, cpuSeconds: null },
      ]);
      expect(await rig.starts("waits")).toBe(0);
    });

    test("a job runs where and with what it was ordered, once, and ends with its code", async () => {
      const runner = await begin();
      const [, second] = await runner.servers();
      const slice = slicesOn(second?.name ?? "", [0, 1], 3, 5 * GB);
      await runner.submit(rig.job("stays", "stays", 2));
      await runner.submit(rig.job("ends", "ends"));
      await runner.submit(rig.job("fails", "fails"));
      await runner.start({ id: "stays", attempt: 1, slices: [slice] });
      await runner.start({ id: "stays", attempt: 1, slices: [slice] });
      const seen = await until(runner, "stays", (job) => job.phase === "running");
      expect(seen.attempt).toBe(1);
      expect(seen.outcome).toBe(null);
      expectHeld(seen, slice);
      await started(rig, runner, "stays");
      expect(await rig.starts("stays")).toBe(1);
      const first = (await runner.servers())[0]?.name ?? "";
      for (const id of ["ends", "fails"])
        await runner.start({ id, attempt: 1, slices: [slicesOn(first, [0], 1, GB)] });
      const ended = await until(runner, "ends", (job) => job.phase === "ended");
      expect(ended).toMatchObject({ attempt: 1, held: [], outcome: { kind: "exited", code: 0 } });
      const failed = await until(runner, "fails", (job) => job.phase === "ended");
      expect(failed).toMatchObject({ attempt: 1, outcome: { kind: "exited", code: 3 } });
      // What has ended stays until it is removed, and no order of its attempt wakes it.
      await runner.start({ id: "ends", attempt: 1, slices: [slicesOn(first, [0], 1, GB)] });
      expect(await one(runner, "ends")).toEqual(ended);
      expect(await rig.starts("ends")).toBe(1);
    });

    test("a program that is not there ends as a start that failed", async () => {
      const runner = await begin();
      const [first] = await runner.servers();
      await runner.submit(rig.job("missing", "missing"));
      await runner.start({
        id: "missing",
        attempt: 1,
        slices: [slicesOn(first?.name ?? "", [0], 1, GB)],
      });
      const seen = await until(runner, "missing", (job) => job.phase === "ended");
      // A shell's way of saying it is code 126 or 127.
      if (seen.outcome?.kind === "exited") expect([126, 127, 128]).toContain(seen.outcome.code);
      else expect(seen.outcome?.kind).toBe("not-started");
    });

    test("stopped, it holds nothing, and starts again elsewhere with other resources", async () => {
      const runner = await begin();
      const [first, second] = await runner.servers();
      await runner.submit(rig.job("moves", "stays"));
      const from = slicesOn(first?.name ?? "", [0], 2, 2 * GB);
      const to = slicesOn(second?.name ?? "", [1], 4, 3 * GB);
      await runner.start({ id: "moves", attempt: 1, slices: [from] });
      await until(runner, "moves", (job) => job.phase === "running");
      await started(rig, runner, "moves");
      await runner.stop("moves", 1);
      const ended = await until(runner, "moves", (job) => job.phase === "ended");
      expect(ended).toMatchObject({ attempt: 1, held: [] });
      expect(ended.outcome).not.toBe(null);
      await runner.stop("moves", 1);
      await runner.start({ id: "moves", attempt: 2, slices: [to] });
      const seen = await until(runner, "moves", (job) => job.phase === "running");
      expect(seen.attempt).toBe(2);
      expectHeld(seen, to);
      // An order that belongs to the attempt before must not touch this one.
      await runner.stop("moves", 1);
      await runner.start({ id: "moves", attempt: 1, slices: [from] });
      expect(await one(runner, "moves")).toMatchObject({ attempt: 2, phase: "running" });
      await started(rig, runner, "moves", 2);
      expect(await rig.starts("moves")).toBe(2);
    });

    test("a job that ends by itself while it is being stopped starts again, and once each time", async () => {
      const runner = await begin();
      const [first] = await runner.servers();
      const slices = [slicesOn(first?.name ?? "", [0], 1, GB)];
      await runner.submit(rig.job("crossed", "ends"));
      for (const attempt of [1, 2, 3, 4]) {
        await runner.start({ id: "crossed", attempt, slices });
        await started(rig, runner, "crossed", attempt);
        await runner.stop("crossed", attempt);
        const seen = await until(runner, "crossed", (job) => job.phase === "ended");
        expect(seen).toMatchObject({ attempt, held: [] });
      }
      expect(await rig.starts("crossed")).toBe(4);
    });

    test("a job that will not stop is killed after its grace", async () => {
      const runner = await begin();
      const [first] = await runner.servers();
      await runner.submit(rig.job("deaf", "deaf"));
      await runner.start({
        id: "deaf",
        attempt: 1,
        slices: [slicesOn(first?.name ?? "", [0], 1, GB)],
      });
      await until(runner, "deaf", (job) => job.phase === "running");
      // It is deaf only from when its program says so.
      await started(rig, runner, "deaf");
      await runner.stop("deaf", 1);
      const seen = await until(runner, "deaf", (job) => job.phase === "ended");
      expect(seen.held).toEqual([]);
    });

    test("removed jobs are gone, whether they wait, run or have ended", async () => {
      const runner = await begin();
      const [first] = await runner.servers();
      const slices = [slicesOn(first?.name ?? "", [0], 1, GB)];
      for (const id of ["held", "runs", "over"])
        await runner.submit(rig.job(id, id === "over" ? "ends" : "stays"));
      await runner.start({ id: "over", attempt: 1, slices });
      await until(runner, "over", (job) => job.phase === "ended");
      await runner.start({ id: "runs", attempt: 1, slices });
      await until(runner, "runs", (job) => job.phase === "running");
      for (const id of ["held", "runs", "over", "never-known"]) await runner.remove(id);
      await settled(runner, (jobs) => jobs.length === 0);
    });

    test("a new runner sees and controls what an old one started, and the old one is fenced", async () => {
      const old = await begin(3);
      const [first] = await old.servers();
      const slice = slicesOn(first?.name ?? "", [0], 2, 2 * GB);
      await old.submit(rig.job("kept", "stays"));
      await old.submit(rig.job("over", "ends"));
      await old.start({
        id: "over",
        attempt: 1,
        slices: [slicesOn(first?.name ?? "", [1], 1, GB)],
      });
      await until(old, "over", (job) => job.phase === "ended");
      await old.start({ id: "kept", attempt: 1, slices: [slice] });
      await until(old, "kept", (job) => job.phase === "running");
      const runner = await rig.open();
      await runner.takeOver(4);
      await runner.takeOver(4);
      const kept = await one(runner, "kept");
      expect(kept).toMatchObject({ phase: "running", attempt: 1 });
      expectHeld(kept, slice);
      await started(rig, runner, "kept");
      expect(await one(runner, "over")).toMatchObject({
        phase: "ended",
        outcome: { kind: "exited", code: 0 },
      });
      await runner.start({ id: "kept", attempt: 1, slices: [slice] });
      const fenced = { code: "SCHEDULER_FENCED" };
      await expect(old.stop("kept", 1)).rejects.toMatchObject(fenced);
      await expect(old.submit(rig.job("late", "ends"))).rejects.toMatchObject(fenced);
      const late = await rig.open();
      await expect(late.takeOver(3)).rejects.toMatchObject(fenced);
      await runner.stop("kept", 1);
      await until(runner, "kept", (job) => job.phase === "ended");
      expect(await rig.starts("kept")).toBe(1);
    });

    test("cores change in place, or the runner says that they cannot", async () => {
      const runner = await begin();
      const [first] = await runner.servers();
      const small = slicesOn(first?.name ?? "", [0], 1, 2 * GB);
      const large = slicesOn(first?.name ?? "", [0], 3, 4 * GB);
      await runner.submit(rig.job("grows", "stays"));
      await runner.start({ id: "grows", attempt: 1, slices: [small] });
      await until(runner, "grows", (job) => job.phase === "running");
      const resized = await runner.resize({ id: "grows", attempt: 1, slices: [large] });
      if (resized === "refused") {
        expect(runner.resizes).toBe(false);
        expectHeld(await one(runner, "grows"), small);
        return;
      }
      expect(runner.resizes).toBe(true);
      const seen = await until(runner, "grows", (job) => job.held[0]?.cpus === 3);
      expectHeld(seen, large);
      expect(seen).toMatchObject({ phase: "running", attempt: 1 });
      await started(rig, runner, "grows");
      expect(await rig.starts("grows")).toBe(1);
    });

    test("a job over two servers holds its part of both, or is refused where jobs cannot span", async () => {
      const runner = await begin();
      const servers = await runner.servers();
      const slices = servers.slice(0, 2).map(({ name }) => slicesOn(name, [0, 1], 2, 2 * GB));
      await runner.submit(rig.job("wide", "stays", 4));
      const order = runner.start({ id: "wide", attempt: 1, slices });
      if (!runner.spans) {
        await expect(order).rejects.toThrow(/job wide .* 2 (slices|nodes)/);
        expect(await one(runner, "wide")).toMatchObject({ phase: "held" });
        return;
      }
      await order;
      const seen = await until(runner, "wide", (job) => job.phase === "running");
      const held = [...seen.held].sort((a, b) => (a.server < b.server ? -1 : 1));
      expect(held).toMatchObject(
        slices.map(({ server }) => ({ server, gpus: 2, cpus: 2, hostBytes: expect.anything() })),
      );
      await started(rig, runner, "wide");
      await runner.stop("wide", 1);
      await until(runner, "wide", (job) => job.phase === "ended");
      // The next start is on one server, so the engine's job has another shape.
      const whole = slicesOn(servers[1]?.name ?? "", [0, 1, 2, 3], 4, 3 * GB);
      if ((servers[1]?.gpus ?? 0) < 4) return;
      await runner.start({ id: "wide", attempt: 2, slices: [whole] });
      expectHeld(await until(runner, "wide", (job) => job.phase === "running"), whole);
      await started(rig, runner, "wide", 2);
      expect(await rig.starts("wide")).toBe(2);
    });

    test("what ran on a server that is lost has ended, and runs elsewhere", async () => {
      const runner = await begin();
      if (rig.loseServer === undefined) return;
      const [first, second] = await runner.servers();
      const name = first?.name ?? "";
      await runner.submit(rig.job("left", "stays"));
      await runner.start({ id: "left", attempt: 1, slices: [slicesOn(name, [0], 1, GB)] });
      await until(runner, "left", (job) => job.phase === "running");
      await started(rig, runner, "left");
      await rig.loseServer(name);
      const seen = await until(runner, "left", (job) => job.phase === "ended");
      expect(seen).toMatchObject({ attempt: 1, held: [], outcome: { kind: "lost" } });
      expect((await runner.servers()).find((server) => server.name === name)?.condition).toBe(
        "down",
      );
      await runner.start({
        id: "left",
        attempt: 2,
        slices: [slicesOn(second?.name ?? "", [0], 1, GB)],
      });
      await started(rig, runner, "left", 2);
      expect(await rig.starts("left")).toBe(2);
    });
  });
}

function slicesOn(
  server: string,
  gpus: readonly number[],
  cpus: number,
  bytes: number,
): GrantedSlice {
  return { server, gpus, cpus, hostBytes: bytes, cacheBytes: 0, numa: null };
}

/** Engines count memory in whole MiB at best. */
function expectHeld(seen: Observed, slice: GrantedSlice): void {
  expect(seen.held).toHaveLength(1);
  const [held] = seen.held;
  expect(held).toMatchObject({
    server: slice.server,
    gpus: slice.gpus.length,
    cpus: slice.cpus,
  });
  expect(Math.abs((held?.hostBytes ?? 0) - slice.hostBytes)).toBeLessThanOrEqual(2 ** 20);
}

/** The job as it is now. */
async function one(runner: Runner, id: string): Promise<Observed> {
  const seen = (await runner.observe()).find((job) => job.id === id);
  expect(seen, `job ${id}`).toBeDefined();
  return seen as Observed;
}

/** Observes at every change until the jobs are as wanted; the test's own time limit bounds it. */
export async function settled(
  runner: Runner,
  wanted: (jobs: readonly Observed[]) => boolean,
): Promise<readonly Observed[]> {
  const never = new AbortController();
  for (;;) {
    const jobs = await runner.observe();
    if (wanted(jobs)) return jobs;
    await runner.changed(never.signal);
  }
}

async function until(
  runner: Runner,
  id: string,
  wanted: (job: Observed) => boolean,
): Promise<Observed> {
  const found = (jobs: readonly Observed[]) => jobs.find((job) => job.id === id && wanted(job));
  return found(await settled(runner, (jobs) => found(jobs) !== undefined)) as Observed;
}

/** Waits until the program itself has begun; the engine may say `running` a little earlier. */
async function started(rig: RunnerRig, runner: Runner, id: string, times = 1): Promise<void> {
  const never = new AbortController();
  while ((await rig.starts(id)) < times) await runner.changed(never.signal);
}
