export { connectQueue, QueueExecutor, type QueueOptions } from "./executor.ts";
export { type ServeOptions, serveQueue } from "./serve.ts";
