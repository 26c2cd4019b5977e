/** The configurations that `millrace init` writes: valid as they stand, and an introduction to the keys. */

/** run.yaml, with the address of its schema. */
export const runTemplate = (schema: string): string => `# yaml-language-server: $schema=${schema}
# A deployment and its load.   millrace simulate --config run.yaml
# Keys left out have the defaults that the comments name.

model: llama-3-8b          # see \`millrace models\`; or the path of a Hugging Face config.json
device: a100-80gb          # see \`millrace devices\`
tensorParallel: 1          # devices that share each layer
pipelineParallel: 1        # stages of consecutive layers
replicas: 2                # copies of the model, each with its own devices
# precision: { weights: fp16, kv: fp16 }   # fp16, bf16, fp8, int8; weights also int4

scheduler:
  type: vllm-v1            # vllm-v1, vllm-v0, sarathi-serve, sarathi, simple-chunking,
                           # orca, faster-transformer, lightllm
  chunkSize: 2048          # most tokens of a batch; smaller: shorter pauses, slower prompts
  batchSizeCap: 256        # most sequences of a batch

# kv:
#   type: paged            # paged, vattention, static
#   blockSize: 16          # tokens of a block
#   numBlocks: 20000       # default: what fits beside the weights

workload:
  shape: azure-conv-2023   # prompt and output lengths; see \`millrace workloads\`
  qps: 8                   # requests per second, Poisson
  requests: 2000
  # trace: requests.csv    # instead: replay arrived_at,num_prefill_tokens,num_decode_tokens

slo:                       # a breach ends the command with exit code 3
  ttftMs: { p90: 2000 }    # time to first token
  tbtMs: { p99: 200 }      # time between tokens
  # fluidity: 0.9          # share of token deadlines that are met

# routing: round-robin     # round-robin, random, least-outstanding, power-of-two
# predictor: roofline      # or { type: vidur-profiles, path: DIR } and others
# overheads: { host: true, lmHead: true, sampling: true }
# compatibility: none      # vidur: the published simulator's arithmetic
seed: 42
`;

/** plan.yaml, with the address of its schema. */
export const planTemplate = (schema: string): string => `# yaml-language-server: $schema=${schema}
# A question: which deployment carries this load within the SLO at the least cost?
#   millrace plan --config plan.yaml --out results

model: llama-3-8b          # see \`millrace models\`; or the path of a Hugging Face config.json

load:
  qps: 20                  # requests per second on average
  peakFactor: 1.5          # peak over average; the plan carries the peak
  spareReplicas: 1         # replicas that may fail without a breach

workload:
  shape: azure-conv-2023   # prompt and output lengths; see \`millrace workloads\`
  # trace: requests.csv    # or your own log

slo:
  ttftMs: { p90: 2000 }    # time to first token
  tbtMs: { p99: 200 }      # time between tokens

space:                     # what may be chosen
  devices: [a100-80gb, h100, l40s]
  tensorParallel: [1, 2, 4]
  pipelineParallel: [1]
  schedulers: [vllm-v1, sarathi-serve]
  chunkSizes: [512, 2048]
  batchSizeCaps: [128, 256]
  # kv: [paged, vattention]
  # precision: [{ weights: fp16, kv: fp16 }, { weights: fp8, kv: fp8 }]

# prices: { h100: 2.99 }   # dollars per device and hour, instead of the catalogue's

# current:                 # what runs today; judged by the same rules
#   device: a100-80gb
#   tensorParallel: 1
#   replicas: 4
#   scheduler: { type: vllm-v0, batchSizeCap: 256 }

# fleet: { device: a100-80gb, gpus: 8 }   # instead of load: how much do these carry?

# search:
#   screening: { requests: 1000 }
#   confirmation: { requests: 20000, seeds: 3, finalists: 20 }
seed: 42
`;

/** serve.yaml, with the address of its schema. */
export const serveTemplate = (schema: string): string => `# yaml-language-server: $schema=${schema}
# A server over one model.   millrace serve --config serve.yaml
# Keys left out have the defaults that the comments name; files are named from this file's folder.

model: small.gguf          # GGUF file; to try: millrace model make --preset small --out small.gguf
# name: my-model           # name shown to clients; default: the model's own
contextTokens: 2048        # most tokens of prompt and answer; default: the model's, at most 8192
# executor: auto           # ggml where it knows the architecture, else libllama
# threads: 4               # default: the cores, less one above two
# chatTemplate: chatml     # instead of the model's own: a Jinja file, or chatml, hermes, llama3, mistral, gemma

scheduler:
  type: sarathi-serve      # decodes first, prompts in chunks beside them
  chunkSize: 128           # prompt tokens of a step; smaller: shorter pauses, slower prompts
  batchSizeCap: 32         # most requests at once; each has a slot of contextTokens

kv:
  type: vattention         # grows page by page; static: every slot has its memory from the start
  # memory: 2GiB           # physical limit; default: what is free beside the weights
  # page: 64KiB            # 4KiB to 2MiB
  # layout: per-layer      # or sliced: all layers of a token together
  prefixSharing: true      # requests that begin alike share pages

server:
  host: 127.0.0.1          # 0.0.0.0 answers other machines: give keys then
  port: 8080               # 0 takes a free one
  # apiKeyFile: keys.txt   # one accepted key per line
  # corsOrigins: [http://localhost:3000]
  maxInFlight: 512         # answers at once; more are refused with 429
  drainTimeout: 30s        # how long running requests may go on after SIGTERM

maxWaiting: 256            # requests that wait for a slot; more are refused with 429
# deterministic: true      # an answer does not depend on what else is served; slower
# slo: { ttftMs: 2000, tbtMs: 100 }   # targets of the fluidity-index in /metrics
# logs: { decisions: decisions.jsonl, timings: timings.jsonl }   # for simulate --replay
`;
