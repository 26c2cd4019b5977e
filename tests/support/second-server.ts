/** Starts the second real server (tests/second-server), or says why it cannot be. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../second-server/", import.meta.url));

/** Why the server cannot start here, or null. */
export function secondServerMissing(): string | null {
  if (existsSync(`${folder}node_modules/node-llama-cpp`)) return null;
  return "node-llama-cpp is not installed: npm ci --ignore-scripts in tests/second-server";
}

/** The server with the model loaded, from its first line on. Rejects with what it printed when it ends before. */
export async function startSecondServer(
  modelPath: string,
  options: { sequences: number; contextTokens: number; threads: number },
): Promise<AsyncDisposable & { readonly url: string }> {
  const child = spawn(
    process.execPath,
    [
      ...[`${folder}server.mjs`, modelPath, "--sequences", `${options.sequences}`],
      ...["--context", `${options.contextTokens}`, "--threads", `${options.threads}`],
    ],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (part) => {
    said += part;
  });
  const closed = once(child, "close");
  const line = once(createInterface(child.stdout), "line") as Promise<[string]>;
  const first = await Promise.race([line, closed.then(() => null)]);
  if (first === null) throw new Error(`the second server ended: ${said}`);
  return {
    url: (JSON.parse(first[0]) as { url: string }).url,
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await closed;
    },
  };
}
