/** Worker threads from modules of this repository, whether they run built or from source. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { type TransferListItem, Worker } from "node:worker_threads";

/**
 * Starts a thread on a module (`.ts` from source, `.js` built). Sources are loaded by tsx inside the thread, since flags
 * of the process do not reach loaders of threads on Node 20.
 */
export function startThread(
  module: URL,
  workerData: unknown,
  transferList: TransferListItem[] = [],
): Worker {
  if (!module.pathname.endsWith(".ts")) return new Worker(module, { workerData, transferList });
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx"));
  const api = new URL("./esm/api/index.mjs", tsx).href;
  const program = `import(${JSON.stringify(api)}).then(({ register }) => { register(); return import(${JSON.stringify(module.href)}); });`;
  return new Worker(program, {
    eval: true,
    execArgv: ["--conditions=millrace:source"],
    workerData,
    transferList,
  });
}
