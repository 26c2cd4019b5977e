import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng, VirtualClock } from "@millrace/core";
import { Redis } from "ioredis";
import { afterAll, describe, expect, it } from "vitest";
import { Arena } from "../fetch/arena.ts";
import { FileReader } from "../fetch/file-reader.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import { openFolder } from "../source/folder.ts";
import type { Source } from "../source/source.ts";
import { Breaker } from "./breaker.ts";
import { HttpReader } from "./http-reader.ts";
import { digestItems, readManifest, writeManifest } from "./manifest.ts";
import { entryOverheadBytes } from "./ownership.ts";
import { PartitionedReader } from "./partitioned-reader.ts";
import { openPeerStore, type PeerStore } from "./peer-store.ts";
import {
  type StoreServer,
  startMemcached,
  startRedis,
  storesInstalled,
} from "./store-servers.conformance.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-partition-"));
afterAll(() => rmSync(dir, { recursive: true }));

const count = 120;
const content = new Map<number, Uint8Array>();
mkdirSync(join(dir, "set/a"), { recursive: true });
for (let i = 0; i < count; i++) {
  const rng = new Rng(`content/${i}`);
  const bytes = Uint8Array.from({ length: rng.int(1, 9000) }, () => rng.int(0, 255));
  const path = join(dir, "set/a", `${String(i).padStart(4, "0")}.jpg`);
  writeFileSync(path, bytes);
  // Keys depend on the time of change: fixed, so that ownership is the same in every run.
  utimesSync(path, 1e9, 1e9 + i);
  content.set(i, bytes);
}
const source = openFolder(join(dir, "set"));

/** Reads the items and checks every byte; gives the number that storage was asked for. */
async function readAll(reader: StorageReader, items: Iterable<number>): Promise<number> {
  const before = reader.counts().storageBytes;
  const queue = [...items];
  let fromStorage = 0;
  const work = async (): Promise<void> => {
    const arena = new Arena(1 << 16);
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      const extent = source.extent(item);
      const into = arena.view(0, reader.room(extent));
      const { start, storageBytes } = await reader.read(
        { item, key: source.key(item), extent },
        into,
      );
      expect(
        Buffer.compare(into.subarray(start, start + extent.bytes), content.get(item) as Uint8Array),
      ).toBe(0);
      if (storageBytes > 0) fromStorage++;
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  expect(reader.counts().storageBytes > before).toBe(fromStorage > 0);
  return fromStorage;
}

const all = (): number[] => Array.from({ length: count }, (_, i) => i);

it("the breaker opens after failures in a row, lets one probe through, and waits longer each time", () => {
  const clock = new VirtualClock();
  const breaker = new Breaker(clock, { failures: 2, firstSeconds: 1, mostSeconds: 3 });
  breaker.failed();
  breaker.succeeded();
  breaker.failed();
  expect(breaker.allows()).toBe(true);
  breaker.failed();
  for (const pause of [1, 2, 3, 3]) {
    expect(breaker.allows()).toBe(false);
    // What was under way when it opened changes nothing.
    breaker.failed();
    clock.advance(pause * 0.99);
    expect(breaker.allows()).toBe(false);
    clock.advance(pause * 0.01 + 1e-9);
    expect(breaker.allows()).toBe(true);
    expect(breaker.state).toBe("probing");
    expect(breaker.allows()).toBe(false);
    breaker.failed();
  }
  clock.advance(3);
  expect(breaker.allows()).toBe(true);
  breaker.succeeded();
  expect(breaker).toMatchObject({ state: "closed", opened: 1 });
});

const open = (kind: string, { port }: StoreServer): Promise<PeerStore> =>
  openPeerStore({ url: `${kind}://127.0.0.1:${port}`, timeoutSeconds: 5 });

describe.skipIf(!storesInstalled())("a cache over servers", () => {
  it.each([
    ["redis", startRedis],
    ["memcached", startMemcached],
  ] as const)(
    "of %s: every item from storage once, by whichever server; then from memory",
    async (kind, start) => {
      await using one = await start();
      await using two = await start();
      const server = async () =>
        new PartitionedReader({
          source,
          storage: new FileReader(),
          members: [
            { name: "one", bytes: 1e9, store: await open(kind, one) },
            { name: "two", bytes: 2e9, store: await open(kind, two) },
          ],
        });
      await using a = await server();
      await using b = await server();
      const half = all().filter((i) => i % 3 === 0);
      const rest = all().filter((i) => i % 3 !== 0);
      expect((await readAll(a, half)) + (await readAll(b, rest))).toBe(count);
      for (let epoch = 1; epoch < 3; epoch++) {
        // The parts of an epoch change hands, as they do after a shuffle.
        expect(await readAll(a, rest)).toBe(0);
        expect(await readAll(b, half)).toBe(0);
      }
      const [m1, m2] = a.members();
      expect((m1?.items ?? 0) + (m2?.items ?? 0)).toBe(count);
      expect(m2?.items).toBeGreaterThan(m1?.items ?? 0);
      expect(m1).toMatchObject({
        failures: 0,
        corrupt: 0,
        refused: 0,
        skipped: 0,
        state: "closed",
      });
      await b.clear();
      expect(await readAll(a, half)).toBe(half.length);
    },
  );

  it("keeps within its bytes: what does not fit comes from storage every time, the rest never", async () => {
    await using server = await startRedis();
    const store = await open("redis", server);
    const bytes = (source.totalBytes + count * entryOverheadBytes) * 0.4;
    await using reader = new PartitionedReader({
      source,
      storage: new FileReader(),
      members: [{ name: "one", bytes, store }],
    });
    await readAll(reader, all());
    const [member] = reader.members();
    const kept = member?.items ?? 0;
    expect(kept).toBeGreaterThan(count * 0.3);
    for (let epoch = 0; epoch < 3; epoch++) expect(await readAll(reader, all())).toBe(count - kept);
    expect(reader.members()[0]).toMatchObject({ hits: 3 * kept, stored: kept });
  });

  it("loses nothing but a share of the hits when a store is killed in the middle of an epoch", async () => {
    await using one = await startRedis();
    let two = await startRedis();
    const clock = new VirtualClock();
    await using reader = new PartitionedReader({
      source,
      storage: new FileReader(),
      clock,
      members: [
        { name: "one", bytes: 1e9, store: await open("redis", one) },
        { name: "two", bytes: 1e9, store: await open("redis", two) },
      ],
    });
    await readAll(reader, all());
    const share = reader.members()[1]?.items ?? 0;
    expect(share).toBeGreaterThan(count / 4);
    const reading = readAll(reader, all());
    await two.kill("SIGKILL");
    // Every byte is checked: whatever was under way is right.
    expect(await reading).toBeLessThanOrEqual(share);
    expect(await readAll(reader, all())).toBe(share);
    expect(reader.members()[1]).toMatchObject({ state: "open" });
    expect(reader.members()[0]).toMatchObject({ failures: 0 });
    const asked = reader.members()[1]?.failures ?? 0;
    expect(await readAll(reader, all())).toBe(share);
    expect(reader.members()[1]?.failures).toBe(asked);
    two = await startRedis([], false, two.port);
    await using _ = two;
    clock.advance(60);
    // Empty again: its share is read once more and is back afterwards. What raced with the first probe comes later.
    expect(await readAll(reader, all())).toBeGreaterThan(0);
    await readAll(reader, all());
    expect(await readAll(reader, all())).toBe(0);
    expect(reader.members()[1]).toMatchObject({ state: "closed", opened: 1 });
  });

  it("never gives what is damaged, or not what the manifest says, and mends it", async () => {
    await using server = await startRedis();
    const digests = await digestItems(source, new FileReader());
    const path = join(dir, "manifest.json");
    writeManifest(path, source, digests);
    const manifest = readManifest(path, source);
    expect(manifest).toEqual(digests);
    await using reader = new PartitionedReader({
      source,
      storage: new FileReader(),
      digest: (item) => manifest[item],
      members: [{ name: "one", bytes: 1e9, store: await open("redis", server) }],
    });
    await readAll(reader, all());
    const admin = new Redis(server.port, "127.0.0.1");
    const names = (await admin.keys("millrace:*")).sort();
    expect(names.length).toBe(count);
    // A flipped bit, a cut, an exchange of two sound values, something far too long.
    const [a, b, c, d, e] = names as [string, string, string, string, string];
    const value = async (key: string) => (await admin.getBuffer(key)) as Buffer;
    const flipped = await value(a);
    flipped[0] = (flipped[0] as number) ^ 1;
    await admin.set(a, flipped);
    await admin.set(b, (await value(b)).subarray(1));
    const [vc, vd] = [await value(c), await value(d)];
    await admin.set(c, vd);
    await admin.set(d, vc);
    await admin.set(e, Buffer.alloc(1 << 20));
    admin.disconnect();
    expect(await readAll(reader, all())).toBe(5);
    expect(reader.members()[0]).toMatchObject({ corrupt: 5 });
    expect(await readAll(reader, all())).toBe(0);
  });

  it("refuses a manifest of another data set", () => {
    const path = join(dir, "other.json");
    writeManifest(path, { ...source, length: 1, identity: "0" } as Source, new Uint32Array(1));
    expect(() => readManifest(path, source)).toThrow(
      expect.objectContaining({ code: "DATA_INVALID" }),
    );
  });
});

describe("items over HTTP", () => {
  /** A web server over the data set that misbehaves as told, a number of times. */
  async function serve(
    fault: (url: string, n: number) => number | "cut" | "ignore" | null,
  ): Promise<Server> {
    let n = 0;
    const server = createServer((request, response) => {
      const what = fault(request.url ?? "", n++);
      const item = Number(/(\d+)\.jpg$/.exec(request.url ?? "")?.[1]);
      const bytes = content.get(item) ?? new Uint8Array();
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
      if (typeof what === "number") response.writeHead(what).end("no");
      else if (what === "ignore")
        response
          .writeHead(200, { "content-length": bytes.length + 1 })
          .end(Buffer.alloc(bytes.length + 1));
      else {
        const part = bytes.subarray(Number(from), Number(to) + 1);
        response.writeHead(206, { "content-range": `bytes ${from}-${to}/${bytes.length}` });
        if (what === "cut")
          response.write(part.subarray(0, part.length >> 1), () => response.destroy());
        else response.end(part);
      }
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  }
  const reader = (server: Server, path = "data") =>
    new HttpReader({
      root: join(dir, "set"),
      url: `http://127.0.0.1:${(server.address() as { port: number }).port}/${path}`,
    });

  it("arrive whole, also after errors that pass", async () => {
    const server = await serve((_, n) => (n % 7 === 3 ? 503 : n % 11 === 5 ? "cut" : null));
    await using http = reader(server);
    expect(await readAll(http, all())).toBe(count);
    expect(http.counts()).toMatchObject({ reads: count, bytes: source.totalBytes, failures: 0 });
    expect(http.counts().retries).toBeGreaterThan(count / 10);
    server.close();
  });

  it("are refused when the answer is another one, or the path leaves the data set", async () => {
    const server = await serve((url) => (url.includes("0001") ? 404 : "ignore"));
    await using http = reader(server);
    const ask = (item: number, path = source.extent(item).path) =>
      http.read(
        { item, key: source.key(item), extent: { ...source.extent(item), path } },
        new Uint8Array(1 << 16),
      );
    await expect(ask(1)).rejects.toMatchObject({
      code: "DATA_UNREADABLE",
      message: expect.stringContaining("404"),
    });
    await expect(ask(2)).rejects.toMatchObject({
      code: "DATA_UNREADABLE",
      message: expect.stringContaining("ranges"),
    });
    await expect(ask(2, "/etc/passwd")).rejects.toMatchObject({ code: "DATA_INVALID" });
    expect(http.counts().retries).toBe(0);
    server.close();
    expect(() => new HttpReader({ root: "/", url: "file:///etc" })).toThrow(/http/);
  });
});
