/** The program of a pool's child process: loads a module and calls its `run` for each job. Ends with its parent. */
import { errorText } from "../executor.ts";
import type { FromChild, ToChild } from "./fork-protocol.ts";

type Run = (input: unknown) => unknown;

/** The loaded function; null when the module is broken, which the parent has been told. */
let loading: Promise<Run | null> = Promise.resolve(null);

function send(message: FromChild): void {
  // A value that cannot be cloned throws here; a parent that is gone does not matter any more.
  process.send?.(message, undefined, {}, (error) => {
    if (error) process.exit(1);
  });
}

async function load(url: string): Promise<Run | null> {
  try {
    const loaded: { readonly run?: unknown } = await import(url);
    if (typeof loaded.run !== "function")
      throw new Error(`${url} does not export a function "run"`);
    send({ kind: "ready" });
    return loaded.run as Run;
  } catch (error) {
    send({ kind: "broken", error: errorText(error) });
    return null;
  }
}

async function answer(input: unknown): Promise<void> {
  const run = await loading;
  if (run === null) return;
  try {
    send({ kind: "done", value: await run(input) });
  } catch (error) {
    send({ kind: "failed", error: errorText(error) });
  }
}

process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole terminal group; the parent decides when children end.
process.on("SIGINT", () => {});
process.on("message", (message: ToChild) => {
  if (message.kind === "load") loading = load(message.module);
  else void answer(message.input);
});
