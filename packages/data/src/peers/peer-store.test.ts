import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPeerStore, type PeerStoreOptions, storeAddress } from "./peer-store.ts";
import {
  caOf,
  certificates,
  type StoreServer,
  startMemcached,
  startRedis,
  storesInstalled,
} from "./store-servers.conformance.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-peers-"));
afterAll(() => rmSync(dir, { recursive: true }));

interface Kind {
  readonly name: string;
  start(): Promise<StoreServer>;
  options(port: number): PeerStoreOptions;
}

const authFile = join(dir, "users");
writeFileSync(authFile, "trainer:sesame\n");
const acl = ["--user", "trainer", "on", ">sesame", "~millrace:*", "+get", "+set", "+unlink"];

const kinds: readonly Kind[] = [
  {
    name: "redis",
    start: () => startRedis(),
    options: (port) => ({ url: `redis://127.0.0.1:${port}` }),
  },
  {
    name: "redis with TLS, and a user that may do nothing else",
    start: () => startRedis([...acl, "--user", "default", "off"], true),
    options: (port) => ({
      url: `rediss://trainer:sesame@127.0.0.1:${port}`,
      tls: { ca: caOf(certificates()) },
    }),
  },
  {
    name: "memcached",
    start: () => startMemcached(),
    options: (port) => ({ url: `memcached://127.0.0.1:${port}` }),
  },
  {
    name: "memcached with TLS and auth",
    start: () => startMemcached(["-Y", authFile], true),
    options: (port) => ({
      url: `memcacheds://127.0.0.1:${port}`,
      username: "trainer",
      password: "sesame",
      tls: { ca: caOf(certificates()) },
    }),
  },
];

const bytes = (n: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (i * 31 + seed * 7 + (i >> 8)) & 255);

describe.skipIf(!storesInstalled()).each(kinds)("$name is a store", ({ start, options }) => {
  let server: StoreServer;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it("gives what was stored, whole, in any order, many at once", async () => {
    await using store = await openPeerStore(options(server.port));
    const sizes = [0, 1, 100, 4096, 70_000, 1_000_000];
    await Promise.all(
      sizes.map(async (n, i) =>
        expect(await store.set(`millrace:t:${i}`, bytes(n, i))).toBe("stored"),
      ),
    );
    await Promise.all(
      Array.from({ length: 60 }, async (_, k) => {
        const i = k % sizes.length;
        const n = sizes[i] as number;
        const into = new Uint8Array(n + 3).fill(9);
        expect(await store.get(`millrace:t:${i}`, into)).toBe(n);
        expect(Buffer.compare(into.subarray(0, n), bytes(n, i))).toBe(0);
        expect([...into.subarray(n)]).toEqual([9, 9, 9]);
      }),
    );
  });

  it("says what is absent, replaces, deletes, and never writes beyond the buffer", async () => {
    await using store = await openPeerStore(options(server.port));
    const into = new Uint8Array(16);
    expect(await store.get("millrace:none", into)).toBe(-1);
    await store.set("millrace:a", bytes(40, 1));
    expect(await store.get("millrace:a", into)).toBe(40);
    expect([...into]).toEqual([...bytes(40, 1).subarray(0, 16)]);
    await store.set("millrace:a", bytes(3, 2));
    expect(await store.get("millrace:a", into)).toBe(3);
    await store.delete(["millrace:a", "millrace:none"]);
    expect(await store.get("millrace:a", into)).toBe(-1);
  });

  it("fails when it is killed, and works again when it is back", async () => {
    await using store = await openPeerStore({ ...options(server.port), timeoutSeconds: 5 });
    const into = new Uint8Array(16);
    await store.set("millrace:k", bytes(8, 3));
    // Some of these are answered before the end and some are not; none may hang.
    const asked = Array.from({ length: 50 }, () =>
      store.get("millrace:k", into).catch(() => "failed"),
    );
    await server.kill("SIGKILL");
    for (const answer of await Promise.all(asked)) expect([8, "failed"]).toContain(answer);
    await expect(store.get("millrace:k", into)).rejects.toThrow();
    const { port } = server;
    server = await restart(options(port), port);
    expect(await store.get("millrace:k", into)).toBe(-1);
    expect(await store.set("millrace:k", bytes(8, 3))).toBe("stored");
  });
});

/** The same kind of server on the same port. */
function restart({ url }: PeerStoreOptions, port: number): Promise<StoreServer> {
  const secure = url.startsWith("rediss") || url.startsWith("memcacheds");
  if (url.startsWith("redis"))
    return startRedis(secure ? [...acl, "--user", "default", "off"] : [], secure, port);
  return startMemcached(secure ? ["-Y", authFile] : [], secure, port);
}

describe.skipIf(!storesInstalled())("stores", () => {
  it("that are full refuse, and keep what they have and what others have", async () => {
    for (const [server, url] of [
      [await startRedis(["--maxmemory", "4mb"]), "redis"],
      [await startMemcached(["-m", "4", "-I", "1m"]), "memcached"],
    ] as const) {
      await using _ = server;
      await using store = await openPeerStore({ url: `${url}://127.0.0.1:${server.port}` });
      expect(await store.set("tenant:theirs", bytes(1000, 0))).toBe("stored");
      let stored = 0;
      let refused = 0;
      for (let i = 0; i < 200; i++)
        if ((await store.set(`millrace:f:${i}`, bytes(50_000, i))) === "stored") stored++;
        else refused++;
      expect(stored).toBeGreaterThan(5);
      expect(refused).toBeGreaterThan(5);
      const into = new Uint8Array(50_000);
      expect(await store.get("tenant:theirs", into)).toBe(1000);
      let kept = 0;
      for (let i = 0; i < 200; i++) if ((await store.get(`millrace:f:${i}`, into)) >= 0) kept++;
      expect(kept).toBe(stored);
    }
  });

  it("with wrong passwords or unknown authorities fail, and tell no secrets", async () => {
    await using redis = await startRedis(["--requirepass", "right"]);
    await using memcached = await startMemcached(["-Y", authFile]);
    await using tls = await startRedis([], true);
    const broken: readonly PeerStoreOptions[] = [
      { url: `redis://:wrongsecret@127.0.0.1:${redis.port}` },
      { url: `redis://127.0.0.1:${redis.port}` },
      { url: `memcached://trainer:wrongsecret@127.0.0.1:${memcached.port}` },
      { url: `rediss://127.0.0.1:${tls.port}` },
    ];
    for (const options of broken) {
      await using store = await openPeerStore(options);
      expect(store.name).not.toContain("secret");
      const error = await store.get("millrace:x", new Uint8Array(1)).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(Error);
      expect((error as Error).message).not.toContain("wrongsecret");
    }
  });

  it("that are sent nothing but get, set and unlink", async () => {
    await using server = await startRedis();
    const watcher = new Redis(server.port, "127.0.0.1");
    const commands = new Set<string>();
    const monitor = await watcher.monitor();
    monitor.on("monitor", (_time: string, [name]: string[]) =>
      commands.add(String(name).toLowerCase()),
    );
    {
      await using store = await openPeerStore({
        url: `redis://127.0.0.1:${server.port}`,
        expireSeconds: 60,
      });
      await store.set("millrace:x", bytes(10, 1));
      await store.get("millrace:x", new Uint8Array(10));
      await store.delete(["millrace:x"]);
    }
    await watcher.ping();
    monitor.disconnect();
    watcher.disconnect();
    const ours = [...commands].filter((name) => !["info", "ping", "monitor"].includes(name));
    expect(ours.sort()).toEqual(["get", "set", "unlink"]);
  });
});

it("a server that talks nonsense, or says nothing, is given up", async () => {
  for (const said of ["SSH-2.0-OpenSSH\r\n", "x".repeat(10_000), ""]) {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.write(said);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    await using store = await openPeerStore({
      url: `memcached://127.0.0.1:${port}`,
      timeoutSeconds: 0.2,
    });
    await expect(store.get("k", new Uint8Array(4))).rejects.toThrow();
    server.close();
  }
});

it("addresses are read with their defaults, and refused without showing a password", () => {
  expect(storeAddress({ url: "rediss://u:p%40@[::1]/3" })).toMatchObject({
    protocol: "redis",
    secure: true,
    host: "::1",
    port: 6379,
    username: "u",
    password: "p@",
    database: 3,
  });
  expect(storeAddress({ url: "memcached://host" })).toMatchObject({ port: 11211, secure: false });
  for (const url of ["nonsense", "ftp://u:geheim@host", "redis://u:geheim@host/abc", "redis://"]) {
    expect(() => storeAddress({ url })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
    expect(() => storeAddress({ url })).not.toThrow(/geheim/);
  }
});
