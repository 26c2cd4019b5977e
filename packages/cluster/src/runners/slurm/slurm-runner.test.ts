import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Behaviour,
  type RunnerRig,
  runnerConformance,
  settled,
  shellPrograms,
} from "../runner.conformance.ts";
import type { RunnerJob } from "../runner.ts";
import { nodeNames } from "./queue.ts";
import { SlurmRunner } from "./slurm-runner.ts";
import { slurmInstalled, VirtualSlurm } from "./virtual-slurm.conformance.ts";

test("names of nodes are read as Slurm folds them", () => {
  expect(nodeNames("")).toEqual([]);
  expect(nodeNames("n1")).toEqual(["n1"]);
  expect(nodeNames("a[08-10,12]-ib,b,c[1-2]")).toEqual([
    "a08-ib",
    "a09-ib",
    "a10-ib",
    "a12-ib",
    "b",
    "c1",
    "c2",
  ]);
});

describe.runIf(slurmInstalled())("Slurm", () => {
  let slurm: VirtualSlurm;
  let clusters = 0;
  const lost = new Set<string>();
  beforeAll(async () => {
    slurm = await VirtualSlurm.start(4);
  }, 60_000);
  afterAll(() => slurm[Symbol.asyncDispose]());

  async function rig() {
    const dir = mkdtempSync(join(slurm.dir, "rig-"));
    const options = {
      state: join(dir, "state"),
      cluster: `c${clusters++}`,
      partition: null,
      conf: slurm.conf,
      pollSeconds: { busy: 0.1, idle: 0.1 },
    };
    const made = {
      dir,
      options,
      open: async () => new SlurmRunner(options),
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
      loseServer: async (name: string) => {
        lost.add(name);
        await slurm.loseNode(name);
      },
      [Symbol.asyncDispose]: async () => {
        const last = new SlurmRunner(options);
        await last.takeOver(1000);
        for (const { id } of await last.observe()) await last.remove(id);
        await settled(last, (jobs) => jobs.length === 0);
        for (const name of lost) await slurm.restoreNode(name);
        lost.clear();
        rmSync(dir, { recursive: true });
      },
    };
    return made satisfies RunnerRig;
  }

  runnerConformance("the Slurm runner", rig);

  test("arguments reach the program as they are; logs and environment are the job's", async () => {
    const made = await rig();
    await using _ = made;
    const runner = await made.open();
    await runner.takeOver(1);
    const job = made.job("says", "ends");
    await runner.submit({
      ...job,
      argv: ["printf", "%s\n", "$(id) `id` 'a\" b", "*", ""],
      environment: { ODD: "a,b c=d" },
    });
    await runner.submit({
      ...made.job("env", "ends"),
      argv: ["sh", "-c", 'echo "$ODD $MILLRACE_CPUS $SRUN_CPUS_PER_TASK $SLURMD_NODENAME"'],
      environment: { ODD: "a,b c=d" },
    });
    const slice = { server: "n3", gpus: [0], cpus: 5, hostBytes: 3e9, cacheBytes: 0, numa: null };
    for (const attempt of [1, 2]) {
      await runner.start({ id: "says", attempt, slices: [slice] });
      if (attempt === 1) await runner.start({ id: "env", attempt, slices: [slice] });
      await settled(runner, (jobs) =>
        jobs.every(
          ({ id, phase, attempt: a }) => phase === "ended" && (id === "env" || a === attempt),
        ),
      );
    }
    const once = "$(id) `id` 'a\" b\n*\n\n";
    expect(readFileSync(job.logFile, "utf8")).toBe(once + once);
    expect(readFileSync(join(made.dir, "logs/env.log"), "utf8")).toBe("a,b c=d 5 5 n3\n");
  });

  test("a start between its record and its release is finished, not repeated", async () => {
    const made = await rig();
    await using _ = made;
    const runner = await made.open();
    await runner.takeOver(1);
    await runner.submit(made.job("half", "stays"));
    const slice = { server: "n1", gpus: [0], cpus: 2, hostBytes: 1e9, cacheBytes: 0, numa: null };
    await runner.start({ id: "half", attempt: 1, slices: [slice] });
    // As if the release had not been reached: held again before it started, or stopped at once.
    await runner.stop("half", 1);
    await settled(runner, ([job]) => job?.phase === "ended");
    await runner.start({ id: "half", attempt: 2, slices: [slice] });
    const next = await made.open();
    await next.takeOver(2);
    await next.start({ id: "half", attempt: 2, slices: [slice] });
    const [seen] = await settled(next, ([job]) => job?.phase === "running");
    expect(seen).toMatchObject({ attempt: 2, held: [{ server: "n1", cpus: 2, gpus: 1 }] });
  });

  test("what Slurm refuses is said with its words", async () => {
    const made = await rig();
    await using _ = made;
    const runner = await made.open();
    await runner.takeOver(1);
    await runner.submit(made.job("nowhere", "ends"));
    const slice = { server: "n99", gpus: [0], cpus: 1, hostBytes: 1e9, cacheBytes: 0, numa: null };
    await expect(
      runner.start({ id: "nowhere", attempt: 1, slices: [slice] }),
    ).rejects.toMatchObject({
      code: "RUNNER_FAILED",
      message: expect.stringMatching(/nowhere.*scontrol said/),
    });
  });
});
