/** The service in front of a cache over servers, its metrics, and what its jobs say they waited for. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sharedFolder } from "@millrace/system";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parsePeer } from "../peers/open-peers.ts";
import {
  type StoreServer,
  startRedis,
  storesInstalled,
} from "../peers/store-servers.conformance.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { CoordinatedSource } from "./client.ts";
import { metricsAddress, metricsPage, serveMetrics } from "./metrics.ts";
import type { ServiceOptions } from "./service-options.ts";
import { startService } from "./start-service.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-peers-"));
const shared = mkdtempSync(join(sharedFolder(), "test-"));
makeJpegSet(folder, { count: 24, classes: 2, width: 48 });
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(shared, { recursive: true });
});

let sockets = 0;
const options = (more: Partial<ServiceOptions>): ServiceOptions => ({
  source: { path: folder },
  transform: { kind: "image", size: 16, mode: "train", type: "u8", layout: "nchw" },
  batchSize: 4,
  producers: 1,
  socket: join(shared, `socket-${sockets++}`),
  sharedFolder: shared,
  ...more,
});

/** Items of one epoch in order. */
async function epoch(job: CoordinatedSource): Promise<number[]> {
  const items: number[] = [];
  for (let loan = await job.next(); loan !== null; loan = await job.next()) {
    items.push(...loan.batch.items);
    loan.release();
  }
  return items;
}

const at = { seed: 3, epoch: 0, position: 0 };

describe.skipIf(!storesInstalled())("with stores", () => {
  const stores: StoreServer[] = [];
  beforeAll(async () => {
    stores.push(await startRedis(), await startRedis());
  });
  afterAll(async () => {
    for (const store of stores) await store.kill();
  });

  test("two servers share an epoch, and what one has read the other finds in the stores", async () => {
    const peers = { members: stores.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) };
    await using first = await startService(options({ peers, rank: 0, world: 2 }));
    await using second = await startService(options({ peers, rank: 1, world: 2 }));
    const jobs = [];
    for (const { socket } of [first, second])
      jobs.push(await CoordinatedSource.join({ socket, at }));
    const [a, b] = jobs as [CoordinatedSource, CoordinatedSource];
    expect([a.length, b.length]).toEqual([12, 12]);
    const shares = [await epoch(a), await epoch(b)];
    expect(shares.flat().sort((x, y) => x - y)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    // Every epoch deals the items anew. One that ran ahead read items of the second before the other had stored them;
    // from then on each is in a store.
    await epoch(a);
    await epoch(b);
    const read = () => [first, second].map((s) => s.status().work?.reads.storageBytes ?? 0);
    const before = read();
    await epoch(a);
    await epoch(b);
    expect(read()).toEqual(before);
    const members = first.status().work?.members ?? [];
    expect(members.map(({ name }) => name)).toEqual(stores.map(({ port }) => `127.0.0.1:${port}`));
    expect(members.reduce((sum, { hits }) => sum + hits, 0)).toBeGreaterThanOrEqual(12);

    await using metrics = await serveMetrics({ host: "127.0.0.1", port: 0 }, () => first.status());
    const page = await (await fetch(metrics.url)).text();
    const value = (name: string): number =>
      Number(new RegExp(`^${name.replace(/[{}]/g, "\\$&")} (.+)$`, "m").exec(page)?.[1]);
    expect(value("millrace_data_jobs")).toBe(1);
    expect(value("millrace_data_batches_used_total")).toBe(9);
    expect(value("millrace_data_storage_bytes_total")).toBe(before[0]);
    const { port } = stores[0] as StoreServer;
    expect(value(`millrace_data_peer_up{peer="127.0.0.1:${port}"}`)).toBe(1);
    const hits = value(`millrace_data_peer_reads_total{peer="127.0.0.1:${port}",outcome="hits"}`);
    // Reading ahead goes on meanwhile.
    expect(hits).toBeGreaterThanOrEqual(members[0]?.hits ?? Number.NaN);
    expect((await fetch(`${metrics.url}/other`)).status).toBe(404);
    for (const job of jobs) await job[Symbol.asyncDispose]();
  });

  test("a producer that cannot open the stores ends the service with the reason", async () => {
    const members = [{ url: "redis://127.0.0.1:1" }, { url: "redis://127.0.0.1:1" }];
    await using service = await startService(options({ peers: { members } }));
    await expect(service.ended).rejects.toThrow(/two members of the cache have one name/);
  });
});

test("jobs tell waits for bytes from waits for preparation", async () => {
  const cacheFolder = join(shared, "cache");
  await using service = await startService(options({ cacheBytes: 1e6, cacheFolder }));
  await using job = await CoordinatedSource.join({ socket: service.socket, at });
  await epoch(job);
  const first = job.stalls();
  expect(first.waitSeconds).toBeCloseTo(first.fetchSeconds + first.prepSeconds, 9);
  // Nothing was read ahead of the first batch.
  expect(first.fetchSeconds).toBeGreaterThan(0);
  expect(first).toMatchObject({ batches: 6, samples: 24 });
  await epoch(job);
  const { work, slots } = service.status();
  expect(slots.free + slots.leased + slots.ready).toBe(service.ring.layout.slots);
  expect(work?.cache).toMatchObject({ items: 24, capacityBytes: 1e6, admitted: 24 });
  expect(work?.cache.hits).toBeGreaterThanOrEqual(24);
  const page = await metricsPage(service.status());
  expect(page).toMatch(/^millrace_data_cache_bytes\{kind="capacity"\} 1000000$/m);
  expect(page).not.toContain("peer_");
});

test("addresses of peers and metrics", () => {
  expect(parsePeer("redis://a:6379,200GB")).toEqual({ url: "redis://a:6379", bytes: 200e9 });
  expect(parsePeer("memcacheds://a")).toEqual({ url: "memcacheds://a" });
  expect(() => parsePeer("http://a")).toThrow(/is not the address of a store/);
  expect(() => parsePeer("redis://a,much")).toThrow(/--peer/);
  expect(metricsAddress("9100")).toEqual({ host: "127.0.0.1", port: 9100 });
  expect(metricsAddress("0.0.0.0:9100")).toEqual({ host: "0.0.0.0", port: 9100 });
  expect(metricsAddress("[::1]:9100")).toEqual({ host: "::1", port: 9100 });
  for (const text of ["", "a", "99999999", "host:"])
    expect(() => metricsAddress(text)).toThrow(/is no port/);
});
