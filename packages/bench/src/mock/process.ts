/** A mock in a process of its own, so that it does not share the event loop of whoever measures it. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError } from "@millrace/core";
import type { MockOptions } from "./options.ts";

const source = import.meta.url.endsWith(".ts");

/** Starts it. Throws ENVIRONMENT_MISSING when it cannot listen. Disposing it ends the process. */
export async function startMockProcess(
  options: MockOptions = {},
): Promise<AsyncDisposable & { readonly url: string; readonly pid: number }> {
  const program = new URL(source ? "./mock-child.ts" : "./mock-child.js", import.meta.url);
  const flags = source
    ? [
        "--conditions=millrace:source",
        "--import",
        pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href,
      ]
    : [];
  const child = fork(fileURLToPath(program), [], {
    execArgv: flags,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  child.send(options);
  const [told] = (await Promise.race([once(child, "message"), ended])) as [
    { readonly url?: string; readonly error?: string } | number | null,
  ];
  if (told === null || typeof told !== "object" || told.url === undefined) {
    if (child.connected) child.disconnect();
    const why = typeof told === "object" ? told?.error : `exit code ${told}`;
    throw new MillraceError("ENVIRONMENT_MISSING", `the mock endpoint could not start: ${why}`, {
      hint: "another program may have the port; --port 0 takes a free one",
    });
  }
  return {
    url: told.url,
    pid: child.pid ?? -1,
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
