export { EventQueue } from "./event-queue.ts";
export { type StartEngineOptions, SupervisedEngine, startEngine } from "./supervised-engine.ts";
