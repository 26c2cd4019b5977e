/** libllama, bound and checked once per process. */
import { MillraceError } from "@millrace/core";
import { nativeLibrary } from "../native/library.ts";
import { type Bound, bind } from "../native/signatures.ts";
import { llamaTable } from "./functions.ts";
import {
  type BatchStruct,
  type ContextParams,
  checkDefaults,
  type ModelParams,
  structs,
} from "./params.ts";

/** llama_decode, on the calling thread or on one of the libuv pool. */
export interface DecodeFunction {
  (context: bigint, batch: BatchStruct): number;
  async(
    context: bigint,
    batch: BatchStruct,
    done: (error: Error | null, result: number) => void,
  ): void;
}

export interface LlamaLibrary {
  readonly call: Bound<typeof llamaTable>;
  readonly loadModel: (path: string, params: ModelParams) => bigint | null;
  readonly openContext: (model: bigint, params: ContextParams) => bigint | null;
  readonly decode: DecodeFunction;
  readonly modelDefaults: () => ModelParams;
  readonly contextDefaults: () => ContextParams;
}

function load(): LlamaLibrary {
  const handle = nativeLibrary().llama();
  try {
    const call = bind(handle, llamaTable);
    const modelDefaults = handle.func("llama_model_default_params", structs.modelParams, []);
    const contextDefaults = handle.func("llama_context_default_params", structs.contextParams, []);
    const library = {
      call,
      loadModel: handle.func("llama_model_load_from_file", "void *", ["str", structs.modelParams]),
      openContext: handle.func("llama_init_from_model", "void *", [
        "void *",
        structs.contextParams,
      ]),
      decode: handle.func("llama_decode", "int32_t", ["void *", structs.batch]),
      modelDefaults,
      contextDefaults,
    } as unknown as LlamaLibrary;
    checkDefaults(library.modelDefaults(), library.contextDefaults());
    call.llama_backend_init();
    return library;
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError("GGML_ABI_MISMATCH", "libllama lacks a function this version needs", {
      hint: "use the libraries of llama.cpp v0.5.0 (@node-llama-cpp packages 3.22.1)",
      cause,
    });
  }
}

let loaded: LlamaLibrary | null = null;

/** libllama of this process. Throws GGML_UNAVAILABLE, GGML_ABI_MISMATCH. */
export function llamaLibrary(): LlamaLibrary {
  loaded ??= load();
  return loaded;
}
