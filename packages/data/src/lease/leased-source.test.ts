import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LinePointSource, StandAloneLease, type StepReport } from "@millrace/core/job";
import { batchSourceConformance } from "@millrace/core/job/conformance";
import { LeaseServer, openLease } from "@millrace/core/node";
import { sharedFolder } from "@millrace/system";
import { afterAll, expect, test } from "vitest";
import { CoordinatedSource } from "../daemon/client.ts";
import type { DataService } from "../daemon/service.ts";
import { startService } from "../daemon/start-service.ts";
import { DataLoader } from "../loader/loader.ts";
import type { ImageTransformSpec } from "../prep/transform.ts";
import { openFolder } from "../source/folder.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { LeasedSource } from "./leased-source.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-lease-"));
const shared = mkdtempSync(join(sharedFolder(), "test-"));
const transform: ImageTransformSpec = {
  kind: "image",
  size: 16,
  mode: "train",
  type: "u8",
  layout: "nchw",
};
const count = 22;
makeJpegSet(folder, { count, classes: 2, width: 48 });
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(shared, { recursive: true });
});

const none = { cpus: 1, hostBytes: 0, cacheBytes: 0, gpus: [] };

batchSourceConformance("LeasedSource", {
  make: (seed) => new LeasedSource(new LinePointSource(50, 8, seed), new StandAloneLease(none)),
  length: 50,
  print: ({ x, y }) => `${x.join()} ${y.join()}`,
});

test("steps are reported with the time of either side, the last one at the end", async () => {
  let now = 0;
  const lease = new StandAloneLease(none);
  const inner = new LinePointSource(20, 8, 1);
  const next = inner.next.bind(inner);
  // Each batch comes after 3 s and is used for 5.
  inner.next = async (signal) => {
    now += 3;
    return await next(signal);
  };
  const source = new LeasedSource(inner, lease, { step: 10, now: () => now });
  for (let loan = await source.next(); loan !== null; loan = await source.next()) {
    now += 5;
    loan.release();
  }
  expect(lease.totals()).toEqual({ step: 13, computeSeconds: 15, waitSeconds: 9, samples: 20 });
  const last = await source.next();
  now += 2;
  last?.release();
  await source[Symbol.asyncDispose]();
  expect(lease.totals()).toEqual({ step: 14, computeSeconds: 17, waitSeconds: 12, samples: 28 });
  lease.requestStop("enough");
  await expect(source.next()).rejects.toBe("enough");
});

test("a loader's batches are the same whatever threads it is given meanwhile", async () => {
  const options = { source: openFolder(folder), transform, batchSize: 4 };
  const see = async (workers: readonly number[]): Promise<string[]> => {
    await using loader = new DataLoader({ ...options, workers: 1 });
    const seen: string[] = [];
    for (let i = 0; i < 12; i++) {
      if (workers[i] !== undefined) loader.setWorkers(workers[i] as number);
      const loan = await loader.next();
      if (loan !== null) seen.push(Buffer.from(loan.batch.data).toString("base64"));
      loan?.release();
    }
    return seen;
  };
  expect(await see([1, 3, 2, 1, 4, 1, 2])).toEqual(await see([]));
});

/** A service, and a scheduler that granted a job of it something. */
async function scheduled() {
  const socket = join(shared, "service");
  const service = await startService({
    source: { path: folder },
    transform,
    batchSize: 4,
    producers: 1,
    socket,
    sharedFolder: shared,
    cacheFolder: join(shared, "cache"),
  });
  const reports: StepReport[] = [];
  const path = join(folder, ".lease");
  const scheduler = await LeaseServer.listen({
    socket: path,
    admit: () => ({ job: "job", uid: null }),
    report: (_, report) => reports.push(report),
    checkpointed: async () => {},
  });
  scheduler.grant("job", { cpus: 1, hostBytes: 1e9, cacheBytes: 0, gpus: [] });
  const environment = { MILLRACE_LEASE: path, MILLRACE_LEASE_TOKEN: "token" };
  const sum = (name: keyof StepReport) => reports.reduce((n, report) => n + report[name], 0);
  return { service, scheduler, environment, reports, sum };
}

const holds = ({ work, producers }: ReturnType<DataService["status"]>): readonly number[] => [
  producers,
  work?.cache.capacityBytes ?? 0,
];

test("a job of the service reports to its scheduler, and what it is granted the service has", async () => {
  const { service, scheduler, environment, reports, sum } = await scheduled();
  await using _ = service;
  await using __ = scheduler;
  const lease = await openLease({ environment, reportSeconds: 0.001 });
  if (lease === null) throw new Error("no lease");
  await using job = await CoordinatedSource.join({
    socket: service.socket,
    at: { seed: 1, epoch: 0, position: 0 },
  });
  const source = new LeasedSource(job, lease);
  scheduler.grant("job", { cpus: 2.5, hostBytes: 1e9, cacheBytes: 30_000, gpus: [] });
  let steps = 0;
  let samples = 0;
  // Used until it has arrived: the grant at the lease, then an epoch's end.
  for (let epochs = 0; holds(service.status()).join() !== "2,30000"; ) {
    const loan = await source.next();
    if (loan === null) {
      expect(++epochs).toBeLessThan(200);
      continue;
    }
    steps++;
    samples += loan.samples;
    loan.release();
  }
  await source[Symbol.asyncDispose]();
  await lease[Symbol.asyncDispose]();
  while (sum("samples") < samples) await new Promise(setImmediate);
  expect(sum("samples")).toBe(samples);
  expect(reports.at(-1)?.step).toBe(steps);
  expect(sum("waitSeconds")).toBeGreaterThan(0);
});

const python = "/usr/bin/python3";
test("a job in Python does, too, and stops when it is asked to", async () => {
  const { service, scheduler, environment, sum } = await scheduled();
  await using _ = service;
  await using __ = scheduler;
  scheduler.grant("job", { cpus: 2, hostBytes: 1e9, cacheBytes: 30_000, gpus: [] });
  const program = `
import sys
import millrace_lease, millrace_loader
lease = millrace_lease.take()
with millrace_loader.Batches(sys.argv[1], state={"seed": 1, "epoch": 0, "position": 0}) as batches:
    steps = millrace_loader.leased(batches, lease)
    samples = 0
    while not lease.stopping:
        for data, labels in steps: samples += len(labels)
lease.close()
print(samples, lease.reason)
`;
  const folders = ["../../python", "../../../../python"];
  const child = spawn(python, ["-c", program, service.socket], {
    env: {
      ...process.env,
      ...environment,
      PYTHONDONTWRITEBYTECODE: "1",
      PYTHONPATH: folders.map((path) => fileURLToPath(new URL(path, import.meta.url))).join(":"),
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.on("data", (chunk) => {
    printed += chunk;
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  while (holds(service.status()).join() !== "2,30000" && child.exitCode === null)
    await new Promise((resolve) => setTimeout(resolve, 5));
  scheduler.askToStop("job", "room is needed");
  expect(await ended).toBe(0);
  const [samples, ...reason] = printed.trim().split(" ");
  expect(reason.join(" ")).toBe("room is needed");
  expect(sum("samples")).toBe(Number(samples));
});
