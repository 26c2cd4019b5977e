/**
 * The preparation service: k jobs that share each preparation against k jobs that prepare for themselves, on the same
 * cores, wall; and the hand-over of a batch of 64 f32 images (38.5 MB) to Python and to Node.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  CoordinatedSource,
  DataLoader,
  makeJpegSet,
  openFolder,
  startService,
  type TransformSpec,
} from "@millrace/data";
import { report } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-service-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
makeJpegSet(folder, { count: 640 });
const u8: TransformSpec = { kind: "image", size: 224, mode: "train", type: "u8", layout: "nchw" };
const at = { seed: 1, epoch: 0, position: 0 };

type Job = DataLoader | CoordinatedSource;

/** Samples per second over all jobs, each using `samples` as fast as it gets them; the first batch is not counted. */
async function rate(jobs: readonly Job[], samples: number): Promise<number> {
  const use = async (job: Job, least: number): Promise<number> => {
    let n = 0;
    while (n < least) {
      const loan = await job.next();
      n += loan?.samples ?? 0;
      loan?.release();
    }
    return n;
  };
  await Promise.all(jobs.map((job) => use(job, 1)));
  const began = performance.now();
  const used = await Promise.all(jobs.map((job) => use(job, samples)));
  for (const job of jobs) await job[Symbol.asyncDispose]();
  return used.reduce((a, b) => a + b, 0) / ((performance.now() - began) / 1000);
}

const source = openFolder(folder);
for (const k of [4, 8]) {
  const alone = await rate(
    Array.from(
      { length: k },
      () => new DataLoader({ source, transform: u8, batchSize: 32, workers: 1 }),
    ),
    Math.ceil(4800 / k),
  );
  await using service = await startService({
    source: { path: folder },
    transform: u8,
    batchSize: 32,
    socket: join(folder, `k${k}.sock`),
    producers: availableParallelism(),
  });
  const jobs: CoordinatedSource[] = [];
  for (let i = 0; i < k; i++)
    jobs.push(await CoordinatedSource.join({ socket: service.socket, at }));
  const shared = await rate(jobs, 4800);
  report(`${k} jobs for themselves`, alone, "samples/s");
  report(`${k} jobs, preparation shared`, shared, "samples/s");
  report(`for themselves / shared, ${k} jobs`, alone / shared, "", 1 / (0.85 * k));
}

const f32: TransformSpec = { ...u8, type: "f32" };
await using service = await startService({
  source: { path: folder },
  transform: f32,
  batchSize: 64,
  socket: join(folder, "f32.sock"),
});
// Three consumers: one that computes longer than a batch takes to prepare (batches wait for it: what a service is for), one
// that sleeps as long (it wakes with cold caches), and one that takes what comes while every core prepares.
const program = `
import json, sys, time
import numpy as np
import millrace_loader as m
work, seconds, count = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
times, gone, late = [], [], 0
weights = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32) / 23
def step():
    if work == "sleep": time.sleep(seconds)
    until, x = time.perf_counter() + (seconds if work == "compute" else 0), weights
    while time.perf_counter() < until: x = x @ weights
with m.Batches(sys.argv[1], state={"seed": 1, "epoch": 0, "position": 0}, copy=False) as batches:
    while len(times) < count + 16:
        step()
        # Waiting for preparation is no part of handing over: who always waits does it before, the others' waits are counted.
        if work == "none": batches._wait()
        waited = batches.stalls()["wait_seconds"]
        began = time.perf_counter()
        batch = batches.next()
        if batch is None: continue
        first, last = batch.data[0, 0, 0, 0], batch.data[-1, -1, -1, -1]
        took = time.perf_counter() - began
        assert batch.data.nbytes == 38535168
        began = time.perf_counter()
        batch.release()
        if batches.stalls()["wait_seconds"] > waited: late += 1
        else:
            times.append(took)
            gone.append(time.perf_counter() - began)
# The first ones map the ring's pages.
times, gone = sorted(times[16:]), sorted(gone[16:])
print(json.dumps([times[count // 2] * 1000, times[count * 95 // 100] * 1000, gone[count // 2] * 1000, late]))
`;
for (const [name, work, seconds, bar] of [
  ["to a consumer that computes", "compute", 0.08, 0.1],
  ["to one that slept", "sleep", 0.08, undefined],
  ["to one that waits while all cores prepare", "none", 0, undefined],
] as const) {
  const python = spawn(
    "/usr/bin/python3",
    ["-c", program, service.socket, work, String(seconds), "100"],
    {
      env: {
        ...process.env,
        OPENBLAS_NUM_THREADS: "1",
        PYTHONPATH: fileURLToPath(new URL("../packages/data/python", import.meta.url)),
      },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let printed = "";
  for await (const chunk of python.stdout) printed += chunk;
  const [p50, p95, back, late] = JSON.parse(printed) as [number, number, number, number];
  report(`hand-over of 38.5 MB in numpy ${name}, p50`, p50, "ms");
  report(`hand-over of 38.5 MB in numpy ${name}, p95`, p95, "ms", bar);
  report(`giving it back, ${name.slice(3)}, p50`, back, "ms");
  if (work !== "none") report(`batches that were not there yet, ${name.slice(3)}`, late, "");
}
