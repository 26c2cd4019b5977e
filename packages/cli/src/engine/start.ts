/** Starts an engine in its own process and shows what it does meanwhile. */
import type { EngineOptions } from "@millrace/engine";
import { engineModule, type SupervisedEngine, startEngine } from "@millrace/engine/process";
import type { Session } from "../session.ts";

/** Loads the model; the caller closes the engine. */
export async function startWithProgress(
  session: Session,
  options: EngineOptions,
): Promise<SupervisedEngine> {
  const progress = session.progress();
  try {
    return await startEngine(options, {
      module: engineModule,
      onProgress: (what, share) =>
        progress.update({ phase: what, done: Math.round(100 * (share ?? 0)), total: 100 }),
      onEvent: (event, detail) =>
        session.warn(
          event === "ended"
            ? `the engine ended: ${detail}`
            : event === "restarted"
              ? `the engine runs again, ${detail}`
              : `the engine could not be started again: ${detail}`,
        ),
      onLine: (line) => session.detail(`engine: ${line}`),
    });
  } finally {
    progress.end();
  }
}
