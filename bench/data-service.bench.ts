/** The preparation service: k jobs that share each preparation against k jobs that prepare for themselves, on the same cores, wall. */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
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
