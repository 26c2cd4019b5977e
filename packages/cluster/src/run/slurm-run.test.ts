import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SpeedProfile } from "../profile/speed-profile.ts";
import { nodeNames } from "../runners/slurm/queue.ts";
import { SlurmRunner } from "../runners/slurm/slurm-runner.ts";
import { slurmInstalled, VirtualSlurm } from "../runners/slurm/virtual-slurm.conformance.ts";
import { runFiles } from "./charge.ts";
import { jobsFileSchema } from "./jobs-file.ts";
import { runCluster } from "./open-run.ts";
import type { ClusterStatus } from "./snapshot.ts";

/** Speed with CPUs per GPU: one that gains up to 9, one that needs 1. */
const curve = (name: string, gain: number): SpeedProfile => ({
  name,
  cpus: [1, 3, 9],
  hostBytes: [20e9, 60e9],
  rate: [
    [gain > 1 ? 1 / 3 : 1, gain > 1 ? 1 / 3 : 1],
    [1, 1],
    [gain, gain],
  ],
});

/** What squeue says of a running job, beside what the scheduler ordered. */
function queueOf(slurm: VirtualSlurm): ReadonlyMap<string, string> {
  const text = slurm.call(
    "squeue",
    "-h",
    "-t",
    "RUNNING",
    "-O",
    "Name:|,NodeList:|,NumCPUs:|,MinMemory:|,tres-per-node:|,Comment:|",
  );
  return new Map(
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [id = "", list, cpus, memory, tres, comment] = line.split("|").map((w) => w.trim());
        const attempt = comment?.split(":")[3];
        const gpus = /gpu:(\d+)/.exec(tres ?? "")?.[1];
        const nodes = nodeNames(list ?? "").join("+");
        return [id, `${nodes} ${cpus} CPUs ${memory} ${gpus} GPUs start ${attempt}`];
      }),
  );
}

const wantedOf = (status: ClusterStatus): ReadonlyMap<string, string> =>
  new Map(
    status.jobs
      .filter((job) => job.state === "running")
      .map(({ id, slices, attempt }) => {
        // Memory and GPUs are those of each node, cores those of all.
        const { gpus, hostBytes } = slices[0] as (typeof slices)[number];
        const nodes = slices.map(({ server }) => server).sort();
        const cpus = slices.reduce((sum, slice) => sum + slice.cpus, 0);
        const mib = Math.floor(hostBytes / 2 ** 20);
        return [id, `${nodes.join("+")} ${cpus} CPUs ${mib}M ${gpus.length} GPUs start ${attempt}`];
      }),
  );

describe.runIf(slurmInstalled())("a run under Slurm", () => {
  let slurm: VirtualSlurm;
  beforeAll(async () => {
    slurm = await VirtualSlurm.start(4);
  }, 60_000);
  afterAll(() => slurm[Symbol.asyncDispose]());

  test("squeue shows the plan for every job and round, over a lost node, until all have ended", async () => {
    const dir = mkdtempSync(join(slurm.dir, "run-"));
    const jobs = Array.from({ length: 24 }, (_, i) => ({
      id: `job-${i}`,
      model: i % 2 === 0 ? "hungry" : "modest",
      command: ["sleep", String(i % 3 === 0 ? 4 : 2)],
      gpus: [1, 2, 4, 1][i % 4],
      samples: 40,
      arrive: i < 16 ? 0 : 1.5,
      grace: 1,
    }));
    const path = join(dir, "jobs.json");
    writeFileSync(path, JSON.stringify({ cluster: { allocator: "tune", round: 1 }, jobs }));
    const content = jobsFileSchema.parse({ cluster: { allocator: "tune", round: 1 }, jobs });
    const runner = new SlurmRunner({
      state: runFiles(join(dir, "state")).runner,
      cluster: "e2e",
      partition: null,
      conf: slurm.conf,
      pollSeconds: { busy: 0.1, idle: 0.1 },
    });
    let compared = 0;
    let lost = false;
    const differences: string[] = [];
    const widths = new Set<number>();
    const { ended, status } = await runCluster({
      folder: join(dir, "state"),
      file: { path, content },
      models: new Map([
        ["hungry", { profile: curve("hungry", 2.4) }],
        ["modest", { profile: curve("modest", 1) }],
      ]),
      runner,
      note: () => {},
      signal: new AbortController().signal,
      onStatus: (now) => {
        const wanted = wantedOf(now);
        const queue = queueOf(slurm);
        for (const [id, shown] of queue) {
          // squeue was asked a moment later: a job that has been ordered since is in neither.
          const plan = wanted.get(id);
          if (plan === undefined) continue;
          compared++;
          if (plan !== shown) differences.push(`${id}: plan ${plan}, squeue ${shown}`);
          widths.add(Number(plan.split(" ")[1]));
        }
        if (!lost && queue.size > 8) {
          lost = true;
          void slurm.loseNode("n2");
        }
      },
    });
    expect(ended).toBe("finished");
    expect(differences).toEqual([]);
    expect(compared).toBeGreaterThan(40);
    // Not everybody got the same: the plan is Synergy's, not Slurm's.
    expect(widths.size).toBeGreaterThan(2);
    expect(status.jobs.filter((job) => job.state !== "done")).toEqual([]);
    expect(status.jobs.some((job) => job.attempt > 1)).toBe(true);
    // A quarter of a minute on an idle machine.
  }, 180_000);
});
