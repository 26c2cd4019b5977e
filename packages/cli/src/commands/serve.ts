/** `millrace serve`: an OpenAI-compatible server over a GGUF model. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { MillraceError } from "@millrace/core";
import { createServer, namedTemplates, requestLogger } from "@millrace/engine/server";
import { readServeConfig } from "../engine/serve-config.ts";
import { startWithProgress } from "../engine/start.ts";
import { systemdUnit } from "../engine/systemd-unit.ts";
import type { Session } from "../session.ts";

export async function serveCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const config = readServeConfig(flags);
  if (flags.printUnit === true) {
    session.print(
      systemdUnit({
        description: `Millrace serving ${config.card.name}`,
        command: unitCommand(flags),
        workingDirectory: process.cwd(),
        drainSeconds: config.drainTimeoutSeconds,
      }).trimEnd(),
    );
    return 0;
  }
  const { stderr } = session.surroundings;
  const logger = config.logRequests ? requestLogger((line) => stderr.write(line)) : null;
  const engine = await startWithProgress(session, config.engine);
  try {
    const server = createServer(engine, {
      ...config.server,
      logger,
    });
    const stopped = stopSignal();
    const url = await listening(server, config.server);
    // Also with --quiet: programs wait for this line.
    stderr.write(`${engine.card.name} is served at ${url}\n`);
    if (session.json)
      session.printJson({
        schema: "millrace.serve/1",
        url,
        model: engine.card.name,
        contextTokens: engine.card.contextTokens,
        pid: process.pid,
        enginePid: engine.pid,
      });
    const signal = await stopped;
    session.note(
      `${signal}: no new requests; running ones have ${config.drainTimeoutSeconds} s. Once more stops at once.`,
    );
    await server.drain(config.drainTimeoutSeconds);
    return 0;
  } finally {
    await engine.close();
  }
}

/** Reasons why an address cannot be taken, and what to do. */
const refusals: Readonly<Record<string, readonly [string, string]>> = {
  EADDRINUSE: ["is taken", "another --port; 0 takes a free one"],
  EACCES: ["may not be taken by this user", "a --port from 1024 on"],
  EADDRNOTAVAIL: [
    "is no address of this machine",
    "--host 127.0.0.1, or 0.0.0.0 for all addresses",
  ],
  ENOTFOUND: ["is no known address", "--host 127.0.0.1, or 0.0.0.0 for all addresses"],
};

async function listening(
  server: { listen(): Promise<string> },
  at: { readonly host: string; readonly port: number },
): Promise<string> {
  try {
    return await server.listen();
  } catch (cause) {
    const [why, hint] = refusals[(cause as NodeJS.ErrnoException).code ?? ""] ?? [];
    if (why === undefined || hint === undefined) throw cause;
    throw new MillraceError("CONFIG_INVALID", `${at.host}:${at.port} ${why}`, { hint, cause });
  }
}

/** The first SIGINT or SIGTERM; a second one ends the program. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolveSignal) => {
    let asked = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(130);
      asked = true;
      resolveSignal(signal);
    };
    process.on("SIGINT", stop);
    process.on("SIGTERM", stop);
  });
}

/** The command line that these flags stand for, with absolute paths and without --print-unit. */
function unitCommand(flags: Readonly<Record<string, unknown>>): readonly string[] {
  const program = fileURLToPath(new URL("../../bin/millrace.js", import.meta.url));
  const words = [process.execPath, program, "serve"];
  for (const [name, value] of Object.entries(flags)) {
    // prefixSharing is true unless --no-prefix-sharing is given.
    if (name === "printUnit" || (name === "prefixSharing" && value === true)) continue;
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (value === true) words.push(`--${flag}`);
    else if (value === false) words.push(`--no-${flag}`);
    else
      for (const one of Array.isArray(value) ? value : [value])
        words.push(`--${flag}`, isFile(name, String(one)) ? resolve(String(one)) : String(one));
  }
  return words;
}

/** A chat template may also be a name. */
function isFile(flag: string, value: string): boolean {
  return files.has(flag) && !(flag === "chatTemplate" && Object.hasOwn(namedTemplates, value));
}

/** Flags whose value is a file: the unit runs from anywhere. */
const files = new Set([
  "model",
  "config",
  "chatTemplate",
  "profile",
  "apiKeyFile",
  "decisionLog",
  "timingLog",
]);
