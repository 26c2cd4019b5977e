/** The stores of the servers that an experiment plays: one per network namespace, as users would start them. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import type { ServerNamespaces } from "@millrace/system";

export const storePort = 7379;

/** A store per server. Throws MillraceError ENVIRONMENT_MISSING when it is not installed or does not start. */
export async function startStores(
  kind: "redis" | "memcached",
  net: ServerNamespaces,
): Promise<readonly ChildProcess[]> {
  const started: ChildProcess[] = [];
  const folder = mkdtempSync(join(tmpdir(), "millrace-stores-"));
  try {
    for (const [i, { address }] of net.servers.entries()) {
      const program =
        kind === "redis"
          ? `redis-server --bind ${address} --port ${storePort} --protected-mode no --save  --appendonly no --maxmemory-policy noeviction`
          : `memcached -l ${address} -p ${storePort} -U 0 -M -I 16m -m 65536 -u root`;
      const words = program.split(" ");
      const command = net.command(i, words);
      // memcached says only there that it listens, unless it logs every command as well.
      const listens = join(folder, String(i));
      const child = spawn(command[0] as string, command.slice(1), {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, MEMCACHED_PORT_FILENAME: listens },
      });
      started.push(child);
      await listening(child, words[0] as string, () => existsSync(listens));
    }
    return started;
  } catch (error) {
    for (const child of started) child.kill("SIGKILL");
    throw error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Until the program says that it accepts connections, or is seen to. */
async function listening(child: ChildProcess, name: string, seen: () => boolean): Promise<void> {
  let said = "";
  let ended = false;
  const hear = (chunk: Buffer): void => {
    if (said.length < 1e5) said += chunk;
  };
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  child.once("error", () => {
    ended = true;
  });
  child.once("exit", () => {
    ended = true;
  });
  while (!seen() && !said.includes("Ready to accept connections")) {
    if (ended)
      throw new MillraceError(
        "ENVIRONMENT_MISSING",
        `${name} could not start: ${said.trim().slice(-300)}`,
        { hint: `apt-get install ${name}, or choose the other --store` },
      );
    await sleep(10);
  }
}
