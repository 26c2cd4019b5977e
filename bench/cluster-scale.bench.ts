/**
 * Scale of the cluster scheduler: decision times at 128 GPUs and at 5,000, runs of 2,000 and of 100,000 jobs, and the
 * linear program of OPT at 16,384 GPUs in its worker.
 */
import { HighsSolver } from "@millrace/core/solver";
import { classesOf, solveClasses } from "../packages/cluster/src/allocator/opt/program.ts";
import {
  type JobState,
  shareTerms,
  speedOptions,
  summarizeDecisions,
  uniformServers,
} from "../packages/cluster/src/index.ts";
import { activeJobs, benchRun, models } from "./cluster.ts";
import { median, report } from "./harness.ts";

const large = { servers: 625, gpus: 8, cpus: 24, hostBytes: 500e9 };

// Warm code: what is measured is the scheduler, not the compiler.
await benchRun({ jobs: 500, rate: 12, seed: 9, allocator: "waterfill" });

{
  const started = performance.now();
  const { summary } = await benchRun({
    jobs: 2000,
    rate: 9,
    seed: 42,
    policy: "srtf",
    allocator: "waterfill",
  });
  report(
    "2,000 jobs on 128 GPUs, SRTF with water-filling, wall",
    (performance.now() - started) / 1e3,
    "s",
    1,
  );
  report("2,000 jobs on 128 GPUs: decision, mean", summary.decisionMs.mean, "ms");
}
// Overload fills the queue and takes all GPUs; decisions count from 180 jobs on, to the last arrival, over ten traces.
for (const allocator of ["tune", "waterfill"] as const) {
  const times: number[] = [];
  const queue: number[] = [];
  for (let seed = 1; seed <= 10; seed++) {
    const run = { jobs: 700, rate: 24, seed, policy: "las" as const, allocator };
    const lastArrival = (await benchRun(run)).jobs.at(-1)?.arrivedAt ?? 0;
    const outcome = await benchRun(run, { stop: (_, now) => now > lastArrival });
    const active = activeJobs(outcome);
    const full = active.findIndex((jobs) => jobs >= 180);
    if (full < 0) continue;
    queue.push(...active.slice(full));
    times.push(...outcome.result.decisionMs.slice(full));
  }
  const { p50, p99 } = summarizeDecisions(times);
  const name = `128 GPUs, about 200 jobs, LAS, ${allocator}`;
  report(`${name}: jobs, median`, median(queue), "");
  report(`${name}: decision, p50`, p50, "ms");
  report(`${name}: decision, p99 of ${times.length}`, p99, "ms", 1);
}
{
  const started = performance.now();
  const outcome = await benchRun({
    jobs: 100_000,
    rate: 350,
    seed: 3,
    policy: "srtf",
    allocator: "waterfill",
    cluster: large,
  });
  report(
    "100,000 jobs on 5,000 GPUs, SRTF with water-filling, wall",
    (performance.now() - started) / 1e3,
    "s",
    60,
  );
  const { decisionMs } = outcome.summary;
  report("100,000 jobs on 5,000 GPUs: jobs at a time, median", median(activeJobs(outcome)), "");
  report("100,000 jobs on 5,000 GPUs: decision, mean", decisionMs.mean, "ms");
  report("5,000 GPUs, about 5,000 jobs: decision, p50", decisionMs.p50, "ms");
  report("5,000 GPUs, about 5,000 jobs: decision, p99", decisionMs.p99, "ms", 20);
}
{
  const servers = uniformServers(2048, 8, 24, 500e9);
  const share = shareTerms(servers);
  const counts = [1, 2, 4, 8];
  const jobs: JobState[] = [];
  let gpus = 0;
  const options = [...models.values()].flatMap(({ profile }) =>
    counts.map((n) => speedOptions(profile, n, share)),
  );
  for (let i = 0; gpus < 16_384 - 8; i++) {
    const choices = options[(i * 7) % options.length];
    if (choices === undefined) continue;
    gpus += choices.gpus;
    jobs.push({ options: choices } as JobState);
  }
  await using solver = new HighsSolver();
  const pool = { cpus: 2048 * 24, hostBytes: 2048 * 500e9 };
  await solveClasses(classesOf(jobs), pool, solver);
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    await solveClasses(classesOf(jobs), pool, solver);
    times.push(performance.now() - started);
  }
  report(
    `OPT's program at 16,384 GPUs, ${jobs.length} jobs, in its worker`,
    median(times),
    "ms",
    500,
  );
}
