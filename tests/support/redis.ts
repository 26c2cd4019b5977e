/** A Redis server of the test's own: a free loopback port, a temporary folder, gone afterwards. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly process: ChildProcess;
}

/** Why there is none, or null. On CI a missing server is an error, elsewhere the tests are skipped. */
export function redisMissing(): string | null {
  const found = spawnSync("redis-server", ["--version"]).status === 0;
  if (found) return null;
  const reason = "redis-server is not installed (apt-get install redis-server)";
  if (process.env.CI !== undefined && process.env.CI !== "") throw new Error(reason);
  return reason;
}

export async function startRedis(): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "millrace-redis-"));
  const port = await freePort();
  const server = spawn(
    "redis-server",
    [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--dir",
      folder,
      "--appendonly",
      "yes",
      "--save",
      "",
    ],
    { stdio: "ignore" },
  );
  const url = `redis://127.0.0.1:${port}`;
  const gone = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  await until(() => ping(port));
  return {
    url,
    process: server,
    [Symbol.asyncDispose]: async () => {
      server.kill("SIGKILL");
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Tries until it does not throw, for 10 s. */
async function until(attempt: () => Promise<void>): Promise<void> {
  const end = Date.now() + 10_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function ping(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("error", reject);
    socket.once("data", (data) => {
      socket.destroy();
      if (String(data).startsWith("+PONG")) resolve();
      else reject(new Error(String(data)));
    });
  });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() =>
        resolve(typeof address === "object" && address !== null ? address.port : 0),
      );
    });
  });
}
