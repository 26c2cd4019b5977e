/** What a real sacct prints of jobs that really ran, read and advised on: columns, units and steps as Slurm has them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountingInstalled, VirtualSlurm } from "../runners/slurm/virtual-slurm.conformance.ts";
import { adviceOptions, advise } from "./advise.ts";
import { parseUse } from "./read.ts";
import { sacctCommand } from "./sacct.ts";

describe.runIf(accountingInstalled())("the accounts of a real Slurm", () => {
  let slurm: VirtualSlurm;
  beforeAll(async () => {
    slurm = await VirtualSlurm.start(2, true);
  }, 60_000);
  afterAll(() => slurm?.[Symbol.asyncDispose]());

  test("say what jobs asked for and used, and what would do", async () => {
    const script = (name: string, body: string): string => {
      const path = join(slurm.dir, `${name}.sh`);
      writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
      return path;
    };
    const submit = (name: string, body: string, ...flags: readonly string[]): void => {
      const shape = [`--job-name=${name}`, "--output=/dev/null", "--chdir=/", ...flags];
      slurm.call("sbatch", ...shape, script(name, body));
    };
    const burn =
      "i=0; end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do i=$((i + 1)); done";
    submit("idle-cores", burn, "--gres=gpu:1", "--cpus-per-task=8", "--mem=4000M");
    submit(
      "steps",
      `srun -n 2 sh -c '${burn}'`,
      "--gres=gpu:2",
      "-n",
      "2",
      "-c",
      "2",
      "--mem=2000M",
    );
    submit("array", burn, "--array=1-2", "--gres=gpu:1", "--cpus-per-task=2", "--mem=500M");
    submit("fails", "exit 3", "--gres=gpu:1", "--mem=500M");
    submit("waits", "true", "--hold", "--gres=gpu:1", "--mem=500M");
    const [program = "", ...args] = sacctCommand.split(" ");
    let text = "";
    await expect
      .poll(
        () => {
          text = slurm.call(program, ...args);
          return text.match(/^[\d_]+\|.*\|(COMPLETED|FAILED)\|/gm)?.length ?? 0;
        },
        { timeout: 45_000, interval: 300 },
      )
      .toBe(5);
    const report = parseUse(text, "jobs.txt");
    expect(report.source).toBe("sacct");
    expect(report.skipped).toEqual([]);
    const of = (name: string) => report.jobs.filter((job) => job.name === name);
    const [idle] = of("idle-cores");
    expect(idle).toMatchObject({
      owner: "root",
      gpus: 1,
      running: false,
      cpus: { held: 8 },
      memory: { heldBytes: 4000 * 2 ** 20, exhausted: false },
    });
    // One core at most was busy, and the shell was there.
    expect(idle?.cpus.mean).toBeGreaterThan(0.05);
    expect(idle?.cpus.mean).toBeLessThan(2);
    expect(idle?.memory.peakBytes).toBeGreaterThan(2 ** 19);
    expect(idle?.seconds).toBeGreaterThanOrEqual(3);
    expect(Math.abs((idle?.submittedAt ?? 0) - Date.now() / 1000)).toBeLessThan(26 * 3600);
    expect(of("steps")).toMatchObject([{ gpus: 2, cpus: { held: 4 } }]);
    expect(of("steps")[0]?.cpus.mean).toBeGreaterThan(idle?.cpus.mean ?? 0);
    expect(of("array").map(({ id }) => id.replace(/^\d+/, ""))).toEqual(["_1", "_2"]);
    expect(of("waits")).toEqual([]);
    const advice = advise(report.jobs, { ...adviceOptions, leastSeconds: 1 });
    const line = advice.kinds.find(({ kind }) => kind.name === "idle-cores");
    // A core and a bit was used of eight.
    expect(line?.cpusToAsk).toBeLessThanOrEqual(2);
    expect(line?.secondsHigh).toBe(line?.secondsNow);
  }, 90_000);
});
