/** `millrace worker`: serves the runs of `millrace plan --queue` until it is stopped. */
import { availableParallelism } from "node:os";
import { MillraceError } from "@millrace/core";
import { loadQueue } from "../planning/queue.ts";
import type { Session } from "../session.ts";

interface WorkerFlags {
  readonly queue?: string;
  readonly workers?: number;
}

export async function workerCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { queue, workers = availableParallelism() } = flags as WorkerFlags;
  if (queue === undefined)
    throw new MillraceError("USAGE", "no queue is named", {
      hint: "name the Redis server, e.g. --queue redis://127.0.0.1:6379",
    });
  const { serveQueue } = await loadQueue();
  const progress = session.progress();
  session.note(`serving ${queue}, ${workers} runs at a time; Ctrl-C stops after the runs in progress`);
  let runs = 0;
  await session.interruptible((signal) =>
    serveQueue({
      url: queue,
      workers,
      signal,
      finished: (total) => {
        runs = total;
        progress.update({ phase: "serving", done: total, total: 0 });
      },
    }),
  );
  progress.end();
  if (session.json) session.printJson({ schema: "millrace.worker/1", runs });
  else session.note(`stopped after ${runs} runs`);
  return 0;
}
