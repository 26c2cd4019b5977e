/** A preparation thread. */
import { parentPort, workerData } from "node:worker_threads";
import { MillraceError } from "@millrace/core";
import { Preparer } from "./preparer.ts";
import type { FromWorker, PrepResult, ToWorker, WorkerSetup } from "./protocol.ts";

const port = parentPort;
if (port !== null) {
  const say = (message: FromWorker): void => port.postMessage(message);
  try {
    const preparer = await Preparer.open(workerData as WorkerSetup);
    // Tasks run in the order they came, also where a transform waits for something.
    let last: Promise<unknown> = Promise.resolve();
    port.on("message", (message: ToWorker) => {
      if (message.kind === "area") preparer.setArea(message.number, message.area);
      else
        last = last.then(async () => {
          if (message.kind === "close") {
            preparer[Symbol.dispose]();
            port.close();
            return;
          }
          const results: PrepResult[] = [];
          const began = performance.now();
          for (const task of message.tasks) results.push(await preparer.prepare(task));
          say({ kind: "done", results, busySeconds: (performance.now() - began) / 1000 });
        });
    });
    say({ kind: "ready" });
  } catch (error) {
    const code = error instanceof MillraceError ? error.code : "CONFIG_INVALID";
    say({ kind: "broken", code, message: error instanceof Error ? error.message : String(error) });
  }
}
