export { type GgmlExecutorOptions, openGgmlExecutor } from "./open-executor.ts";
