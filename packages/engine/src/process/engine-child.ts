/** The program of the engine's process. Ends with its parent, when told to, and when the engine cannot go on. */
import { MillraceError } from "@millrace/core";
import type { CreateEngine } from "../contracts.ts";
import { EngineHost } from "./engine-host.ts";
import { plainError } from "./plain-error.ts";
import { type FromEngine, PROTOCOL_VERSION, type ToEngine } from "./protocol.ts";

/** Exit code after a fatal failure that was told to the parent. */
const FATAL_EXIT = 70;

let host: Promise<EngineHost> | null = null;

function post(message: FromEngine): void {
  // A parent that is gone ends this process through "disconnect".
  if (process.connected) process.send?.(message, undefined, {}, () => {});
}

async function load(message: Extract<ToEngine, { kind: "load" }>): Promise<EngineHost> {
  if (message.version !== PROTOCOL_VERSION)
    throw new MillraceError(
      "ENGINE_FAILED",
      `the server speaks version ${message.version} of the engine protocol, the engine version ${PROTOCOL_VERSION}`,
      { hint: "rebuild: the two come from different versions of the package" },
    );
  const module: { readonly createEngine?: CreateEngine } = await import(message.module);
  if (typeof module.createEngine !== "function")
    throw new MillraceError("ENGINE_FAILED", `${message.module} does not export createEngine`);
  const client = await module.createEngine(message.options, {
    onProgress: (what, share) => post({ kind: "progress", what, share: share ?? null }),
    onFatal: (text) => {
      post({ kind: "fatal", message: text });
      // A hung native step cannot be stopped, and a clean exit would wait for it.
      setTimeout(() => process.kill(process.pid, "SIGKILL"), 200);
    },
  });
  post({ kind: "ready", version: PROTOCOL_VERSION, card: client.card });
  return new EngineHost(client, { post });
}

async function close(): Promise<never> {
  await (await host)?.close();
  process.exit(0);
}

process.on("disconnect", () => process.exit(0));
// Signals reach the whole terminal group; the parent drains and then closes.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("uncaughtException", (error) => {
  post({ kind: "fatal", message: plainError(error).message });
  setTimeout(() => process.exit(FATAL_EXIT), 50);
});
process.on("message", (message: ToEngine) => {
  if (message.kind === "load") {
    host = load(message);
    host.catch((error: unknown) => {
      post({ kind: "refused", error: plainError(error) });
      setTimeout(() => process.exit(1), 50);
    });
  } else if (message.kind === "close") {
    close().catch(() => process.exit(1));
  } else {
    host?.then((ready) => ready.receive(message)).catch(() => {});
  }
});
