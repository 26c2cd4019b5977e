/** How to start what was chosen: commands with the knobs that were judged. */
import type { Candidate, ModelSpec, SchedulerConfig } from "../types.ts";

export interface LaunchCommand {
  readonly target: string;
  readonly command: string;
}

/** vLLM can be told to behave like these. */
const vllmSchedulers = ["vllm-v1", "vllm-v0", "sarathi-serve"];

/** These compute prompts whole. */
const wholePrompts = ["vllm-v0", "orca", "faster-transformer", "lightllm"];

/** Commands for one replica, one per target that can run the candidate; flags as documented by vLLM 0.10. */
export function launchCommands(
  model: ModelSpec,
  config: Candidate,
  scheduler: SchedulerConfig,
): LaunchCommand[] {
  const commands: LaunchCommand[] = [];
  if (vllmSchedulers.includes(config.scheduler))
    commands.push({ target: "vllm", command: vllmCommand(model, config, scheduler) });
  commands.push({
    target: "millrace",
    command: millraceCommand(config),
  });
  return commands;
}

function millraceCommand({ scheduler, chunkSize, batchSizeCap }: Candidate): string {
  const chunk = wholePrompts.includes(scheduler) ? "" : ` --chunk-size ${chunkSize}`;
  return `millrace serve --model MODEL.gguf --scheduler ${scheduler}${chunk} --batch-size-cap ${batchSizeCap}`;
}

function vllmCommand(model: ModelSpec, c: Candidate, scheduler: SchedulerConfig): string {
  const flags = [`--tensor-parallel-size ${c.tensorParallel}`];
  if (c.pipelineParallel > 1) flags.push(`--pipeline-parallel-size ${c.pipelineParallel}`);
  // vLLM counts the sequences of all stages, as batchSizeCap does.
  flags.push(`--max-num-seqs ${c.batchSizeCap}`);
  if (c.scheduler === "vllm-v0") flags.push("--no-enable-chunked-prefill");
  else flags.push("--enable-chunked-prefill");
  const budget = c.scheduler === "vllm-v0" ? scheduler.maxTokensInBatch : c.chunkSize;
  flags.push(`--max-num-batched-tokens ${budget}`);
  flags.push(`--max-model-len ${Math.min(scheduler.maxRequestTokens, model.maxContext)}`);
  if (c.weightBytes === 1) flags.push("--quantization fp8");
  if (c.kvBytes === 1) flags.push("--kv-cache-dtype fp8");
  return `vllm serve ${hubName(model.name)} ${flags.join(" ")}`;
}

/** The Hugging Face name of the weights; Meta's older names lack the suffix of their converted repositories. */
function hubName(name: string): string {
  return /^(meta-llama\/Llama-2|codellama\/CodeLlama)-\d+b$/i.test(name) ? `${name}-hf` : name;
}
