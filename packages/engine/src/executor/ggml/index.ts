export {
  type GgmlComputeOptions,
  type GgmlExecutorOptions,
  type GgmlKvOptions,
  openGgmlExecutor,
} from "./open-executor.ts";
