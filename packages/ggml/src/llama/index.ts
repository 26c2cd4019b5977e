/**
 * libllama from TypeScript: vocabularies, grammars, and contexts that compute any model llama.cpp knows. Checks what the
 * library would assert on; promises nothing about schedules or requests.
 */
export { LlamaBatch } from "./batch.ts";
export { LlamaContext, type LlamaContextOptions } from "./context.ts";
export { GrammarSampler } from "./grammar-sampler.ts";
export { LlamaModel, type LlamaModelOptions } from "./model.ts";
export { LlamaVocabulary } from "./vocabulary.ts";
