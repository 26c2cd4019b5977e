export { Embedder, type EmbedderOptions } from "./embedder.ts";
export { type LibllamaExecutorOptions, openLibllamaExecutor } from "./open-executor.ts";
