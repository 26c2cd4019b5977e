export { EventQueue } from "./event-queue.ts";
export { type StartEngineOptions, SupervisedEngine, startEngine } from "./supervised-engine.ts";

/** The module that makes a real engine in the engine's process. */
export const engineModule = new URL(
  import.meta.url.endsWith(".ts") ? "../loop/create-engine.ts" : "../loop/create-engine.js",
  import.meta.url,
);
