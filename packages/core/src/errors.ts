/**
 * Errors of Millrace. An expected failure is a MillraceError: a code that `millrace explain` knows, one sentence that
 * names the bad value, and a hint. A broken invariant is a bug of ours and throws InvariantError.
 */

/** What each code means, which exit code the command line ends with, and what to do; shown by `millrace explain CODE`. */
export const errorCodes = {
  USAGE: {
    exit: 2,
    title: "A command or flag was not understood",
    text: "The command line names a command, flag or value that does not exist. `millrace help` lists the commands; `millrace COMMAND --help` lists the flags of one.",
  },
  CONFIG_INVALID: {
    exit: 2,
    title: "A configuration value is missing, unknown or out of range",
    text: "The message names file, line, column and key. `millrace init` writes a commented file that is valid; its first line names the JSON schema, so that an editor completes and checks keys.",
  },
  CONFIG_SYNTAX: {
    exit: 2,
    title: "A YAML or JSON file could not be parsed",
    text: "The message names file, line and column of the first place that is not valid. Usual causes: a tab used for indentation, a missing colon, an unclosed quote.",
  },
  TRACE_INVALID: {
    exit: 2,
    title: "A request trace has a row that cannot be used",
    text: "A trace is CSV with a header that contains num_prefill_tokens and num_decode_tokens, and arrived_at (seconds) where arrivals are replayed. Token counts are whole numbers of at least 1; arrivals are finite and not negative.",
  },
  JOBS_INVALID: {
    exit: 2,
    title: "A trace or file of training jobs has an entry that cannot be used",
    text: "A job trace is CSV with rows job_id,model,arrival_s,iterations,gpus; the header line may be left out. Ids are whole numbers and differ, arrivals are seconds from the start of the trace, iterations and GPUs are whole numbers of at least 1.",
  },
  PROFILE_INVALID: {
    exit: 2,
    title: "A profile or look-up table cannot be used",
    text: "The predictor was pointed at a file or folder that lacks a needed file, column or row, or whose numbers are not finite and positive. The message names the first of them.",
  },
  FILE_UNREADABLE: {
    exit: 2,
    title: "A file could not be read",
    text: "The path does not exist, is a folder where a file is needed, or may not be read by this user.",
  },
  OUTPUT_UNWRITABLE: {
    exit: 4,
    title: "A result could not be written",
    text: "Results are written under a temporary name and renamed when complete, so nothing half-written is left. Check that the folder of --out can be created and has room.",
  },
  MODEL_UNKNOWN: {
    exit: 2,
    title: "The model is not in the catalogue",
    text: "`millrace models` lists the models. Any Hugging Face config.json can be named by its path instead.",
  },
  DEVICE_UNKNOWN: {
    exit: 2,
    title: "The device is not in the catalogue",
    text: "`millrace devices` lists the devices. A device of your own is six numbers and a price under `devices:` in the configuration.",
  },
  DEPLOYMENT_IMPOSSIBLE: {
    exit: 3,
    title: "The deployment does not fit the device memory",
    text: "Weights, activations and a reserve must leave room for the KV cache of at least one request. Raise tensorParallel or pipelineParallel, take a device with more memory, or lower the precision of weights or KV.",
  },
  NOTHING_FITS: {
    exit: 3,
    title: "No configuration of the space meets the SLO",
    text: "Every configuration was rejected by memory or by the SLO. The nearest miss is printed with the term that failed; relax that term or widen the space.",
  },
  SLO_BREACHED: {
    exit: 3,
    title: "The run breached its SLO",
    text: "The run finished and its results are complete, but at least one `slo` entry was not met.",
  },
  ENVIRONMENT_MISSING: {
    exit: 4,
    title: "Something this command needs is not installed or not reachable",
    text: "`millrace doctor` prints what is present, what is missing, and what each missing piece disables.",
  },
  SYSTEM_UNSUPPORTED: {
    exit: 4,
    title: "This platform lacks calls of the operating system that are needed",
    text: "Mapped memory, shared memory files and page control exist on 64-bit Linux. Elsewhere the parts that can work with plain memory do; the message names the one that cannot.",
  },
  SYSTEM_CALL_FAILED: {
    exit: 4,
    title: "The operating system refused a call",
    text: "The message names the call, its arguments and the reason the kernel gave. Usual causes: a memory limit of the container, vm.max_map_count, too many open files, a call that a sandbox forbids.",
  },
  GGUF_INVALID: {
    exit: 2,
    title: "A GGUF model file is damaged or not one",
    text: "The message names the file, the offset and the value that cannot be. Usual causes: a download that broke off, a file of another format, parts of a split model that do not belong together. Download it again and compare its checksum.",
  },
  GRAPH_INVALID: {
    exit: 2,
    title: "A training graph cannot be read",
    text: "The message names the operator, or the byte of an ONNX file, and what is wrong with it: shapes that do not fit, inputs that nothing has made, sizes beyond all limits, external data outside the model's folder.",
  },
  MODEL_UNSUPPORTED: {
    exit: 2,
    title: "The model file is valid, but cannot be used for this",
    text: "The message names what the file holds or lacks: an architecture, a tensor type, a vocabulary. `millrace model info FILE` shows what is in it.",
  },
  SCHEMA_UNSUPPORTED: {
    exit: 2,
    title: "A JSON schema cannot be turned into a grammar",
    text: "The message names the path of the keyword. Objects, arrays, enum, const, anyOf, oneOf, $ref, string lengths, a safe subset of patterns, common formats and number ranges are supported; see docs/serving.md.",
  },
  ENGINE_FAILED: {
    exit: 1,
    title: "The engine process could not start, or ended",
    text: "The model runs in a process of its own, so that a crash of native code cannot take the server with it. The message carries what it said last. In-flight requests fail with a retryable error and the process is started again, at growing intervals when it keeps failing.",
  },
  GRAMMAR_INVALID: {
    exit: 2,
    title: "A grammar could not be parsed",
    text: "Grammars are GBNF: one `name ::= …` per rule, starting at the rule `root`. The message names line and column. Usual causes: a rule that is used and not defined, an unclosed quote or bracket, a rule that begins with itself.",
  },
  ENGINE_STEP_FAILED: {
    exit: 1,
    title: "A step of the engine failed or hung",
    text: "The executor rejected a batch, or did not come back from one in time. Mostly memory ran out or a device was lost; the engine process is started again.",
  },
  EMBEDDINGS_UNSUPPORTED: {
    exit: 2,
    title: "The model gives no embeddings",
    text: "Embeddings need a model with pooled outputs, such as a BERT-like encoder. `millrace model info FILE` shows what the file holds.",
  },
  GGML_UNAVAILABLE: {
    exit: 4,
    title: "The ggml libraries are not there or cannot be loaded",
    text: "Real inference and training use the prebuilt libraries of the @node-llama-cpp package for this platform, an optional dependency that npm installs by itself where it exists. The message names the package. MILLRACE_GGML_DIR points at other builds of the same version.",
  },
  GGML_ABI_MISMATCH: {
    exit: 4,
    title: "The ggml libraries are of another version",
    text: "Memory layouts and functions are checked when the libraries are loaded, before anything is computed with them. Use the pinned version: npm ci restores it; a folder named by MILLRACE_GGML_DIR must hold a build of llama.cpp v0.5.0.",
  },
  GGML_SHAPE: {
    exit: 1,
    title: "Tensors do not fit the operation",
    text: "Every operation is checked before it reaches ggml, which would end the process. A model file whose tensors have unexpected shapes is the usual cause.",
  },
  GGML_FAILED: {
    exit: 1,
    title: "A call into ggml reported failure",
    text: "The message carries what ggml logged. Mostly memory ran out: a smaller context, batch or model needs less.",
  },
  DATASET_INVALID: {
    exit: 2,
    title: "A data set for extreme classification cannot be used",
    text: "The message names file and line of the first row that is malformed, out of range or not finite, or the two files whose rows do not match. Ids start at 0; matrix files open with `rows columns`, one-file data sets with `points features labels`. See docs/extreme.md for the formats.",
  },
  LOSS_NOT_FINITE: {
    exit: 1,
    title: "Training stopped because its loss is not a number",
    text: "The message names the step. Usual causes: a learning rate that is too high, a batch with missing values, half precision without loss scaling. The last checkpoint is from before that step; go on from it with other settings.",
  },
  CHECKPOINT_INVALID: {
    exit: 2,
    title: "A checkpoint cannot be loaded",
    text: "The folder holds no complete checkpoint, or one of another model. Checkpoints are complete or absent: a folder that was left half-written by a crash is refused, the one before it is intact.",
  },
  DATA_INVALID: {
    exit: 2,
    title: "A training data set, shard or index is malformed",
    text: "The message names the file and the place in it. Usual causes: a download that broke off, an index of another version of the shard (delete the sidecar; it is made anew), a file of another format, an entry that points outside the data set.",
  },
  DATA_UNREADABLE: {
    exit: 1,
    title: "An item of a data set could not be read",
    text: "Reads are tried again when the reason may pass; the message names the file and the last reason. Check the storage, or choose what to do with bad samples: skip, replace or fail.",
  },
  SAMPLE_BAD: {
    exit: 1,
    title: "A sample could not be prepared",
    text: "The message names the sample and what is wrong with it: a corrupt or truncated image, an image larger than the limit, a record without the field that is needed. With the policy skip or replace it is counted and named in the report instead.",
  },
  SHARED_MEMORY_FULL: {
    exit: 4,
    title: "Shared memory has no room for what was asked",
    text: "Staging rings and caches take their memory before they use it. Ask for fewer or smaller slots or a smaller cache, remove what other runs left (`millrace data inspect`), or enlarge /dev/shm (docker run --shm-size, mount -o remount,size=…).",
  },
  SHARED_MEMORY_INVALID: {
    exit: 4,
    title: "A shared memory file is not what it should be",
    text: "The file is missing, shorter than it says or of another version. Files of a crashed run are removed when the next one starts; a file that stays can be removed by hand when no job uses it.",
  },
  DATA_SERVICE_FAILED: {
    exit: 4,
    title: "The preparation service cannot be reached or refused the job",
    text: "`millrace data serve` prints the socket it listens on; jobs join with the data set, transform, batch size and seed it was started with, as the same user.",
  },
  RUNNER_FAILED: {
    exit: 4,
    title: "What runs the cluster's jobs refused an order or did not answer",
    text: "The message names the job, the order and what Slurm, Kubernetes or the operating system said. The scheduler observes again and repeats what is still wanted; a job that the engine refuses for good is reported and the others go on.",
  },
  SCHEDULER_FENCED: {
    exit: 1,
    title: "Another scheduler has taken this cluster over",
    text: "One scheduler at a time gives orders. Each that starts takes a higher number than those before it, and orders with a lower number are refused. Jobs go on under the new one; `millrace cluster status` shows them.",
  },
  JOURNAL_INVALID: {
    exit: 4,
    title: "A scheduler's journal cannot be read",
    text: "The journal in the scheduler's folder says what was ordered; without it jobs could be lost or started twice, so a damaged one stops the scheduler. A last line that a crash cut short is no damage: it never counted.",
  },
  LEASE_REFUSED: {
    exit: 4,
    title: "A job could not take its lease",
    text: "MILLRACE_LEASE names the socket of the scheduler that started the job and MILLRACE_LEASE_TOKEN is its pass. The scheduler is gone, or the job runs as another user than it was submitted by. Without the two variables a job stands alone.",
  },
  INTERRUPTED: {
    exit: 130,
    title: "Stopped by the user",
    text: "Runs that had finished are kept; starting the same command again with the same --out continues from them.",
  },
} as const satisfies Record<string, { exit: number; title: string; text: string }>;

/** A code that `millrace explain` knows. */
export type ErrorCode = keyof typeof errorCodes;

/** A place in a text file: 1-based line and column. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** What an error may carry beside its message. */
export interface ErrorDetail {
  readonly hint?: string;
  readonly at?: Place;
  readonly cause?: unknown;
}

/** An expected failure: bad input, missing file, impossible request. The message is one sentence that names the bad value. */
export class MillraceError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly at: Place | undefined;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "MillraceError";
    this.code = code;
    this.hint = detail.hint;
    this.at = detail.at;
  }

  /** Exit code of the command line: 2 usage or config, 3 SLO, 4 environment, 130 interrupted. */
  get exit(): number {
    return errorCodes[this.code].exit;
  }
}

/** `file:line:column`, as far as it is known. */
export function formatPlace(at: Place): string {
  return [at.file, at.line, at.column].filter((part) => part !== undefined).join(":");
}

/** A bug of ours: an invariant of the program does not hold. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "InvariantError";
  }
}

/** Throws InvariantError unless `holds`. */
export function invariant(holds: boolean, message: string): asserts holds {
  if (!holds) throw new InvariantError(message);
}

/** Marks a switch as exhaustive. */
export function assertNever(value: never): never {
  throw new InvariantError(`unexpected value ${JSON.stringify(value)}`);
}
