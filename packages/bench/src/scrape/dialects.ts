/** How servers name what they tell. A server is known by its names; a quantity that it does not tell is null. */
import type { MetricSample } from "./prometheus-text.ts";

export const serverQuantities = [
  "running",
  "waiting",
  "kvUse",
  "preemptions",
  "promptTokens",
  "generatedTokens",
] as const;
export type ServerQuantity = (typeof serverQuantities)[number];
export type ServerReading = Readonly<Record<ServerQuantity, number | null>>;

type Samples = readonly MetricSample[];
type Read = (samples: Samples) => number | null;

interface Dialect {
  readonly name: string;
  readonly read: Readonly<Record<ServerQuantity, Read>>;
}

const untold: Read = () => null;

function valuesOf(
  samples: Samples,
  name: string,
  where: (sample: MetricSample) => boolean,
): MetricSample[] {
  return samples.filter(
    (sample) => sample.name === name && Number.isFinite(sample.value) && where(sample),
  );
}

/** Sum over the first of the names that is told: engines behind one server add up. */
function sum(...names: readonly string[]): Read {
  return (samples) => {
    for (const name of names) {
      const found = valuesOf(samples, name, () => true);
      if (found.length > 0) return found.reduce((total, { value }) => total + value, 0);
    }
    return null;
  };
}

/** Mean over engines of the first of the names that is told. */
function mean(...names: readonly string[]): Read {
  return (samples) => {
    for (const name of names) {
      const found = valuesOf(samples, name, () => true);
      if (found.length > 0)
        return found.reduce((total, { value }) => total + value, 0) / found.length;
    }
    return null;
  };
}

function labelled(name: string, key: string, text: string): Read {
  return (samples) =>
    valuesOf(samples, name, ({ labels }) => labels.get(key) === text)[0]?.value ?? null;
}

function ratio(of: Read, to: Read): Read {
  return (samples) => {
    const [part, whole] = [of(samples), to(samples)];
    return part === null || whole === null || whole <= 0 ? null : part / whole;
  };
}

/** Ranks of one model tell the same figures; a line per priority repeats part of the line for all. */
const views = new Set(["tp_rank", "pp_rank", "moe_ep_rank", "pid"]);

function sglang(name: string, combine: "sum" | "mean" = "sum"): Read {
  return (samples) => {
    const groups = new Map<string, number>();
    for (const { labels, value } of valuesOf(
      samples,
      name,
      ({ labels }) => (labels.get("priority") ?? "") === "",
    )) {
      const key = [...labels].flatMap(([k, v]) => (views.has(k) ? [] : [`${k}=${v}`])).sort();
      const group = key.join();
      groups.set(group, Math.max(value, groups.get(group) ?? Number.NEGATIVE_INFINITY));
    }
    if (groups.size === 0) return null;
    const total = [...groups.values()].reduce((a, b) => a + b, 0);
    return combine === "sum" ? total : total / groups.size;
  };
}

const dialects: readonly Dialect[] = [
  {
    name: "Millrace",
    read: {
      running: labelled("millrace_requests", "state", "running"),
      waiting: labelled("millrace_requests", "state", "waiting"),
      kvUse: ratio(
        labelled("millrace_kv_groups", "state", "used"),
        labelled("millrace_kv_groups", "state", "limit"),
      ),
      preemptions: sum("millrace_preemptions_total"),
      promptTokens: sum("millrace_prompt_tokens_total"),
      generatedTokens: sum("millrace_generated_tokens_total"),
    },
  },
  {
    name: "vLLM",
    read: {
      running: sum("vllm:num_requests_running"),
      waiting: sum("vllm:num_requests_waiting"),
      // The second is what versions before 0.10 called it.
      kvUse: mean("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
      preemptions: sum("vllm:num_preemptions_total"),
      promptTokens: sum("vllm:prompt_tokens_total"),
      generatedTokens: sum("vllm:generation_tokens_total"),
    },
  },
  {
    name: "SGLang",
    read: {
      running: sglang("sglang:num_running_reqs"),
      waiting: sglang("sglang:num_queue_reqs"),
      kvUse: sglang("sglang:token_usage", "mean"),
      preemptions: sglang("sglang:num_retracted_requests_total"),
      promptTokens: sglang("sglang:prompt_tokens_total"),
      generatedTokens: sglang("sglang:generation_tokens_total"),
    },
  },
  {
    name: "llama.cpp",
    read: {
      running: sum("llamacpp:requests_processing"),
      waiting: sum("llamacpp:requests_deferred"),
      // Newer builds do not tell it.
      kvUse: mean("llamacpp:kv_cache_usage_ratio"),
      preemptions: untold,
      promptTokens: sum("llamacpp:prompt_tokens_total"),
      generatedTokens: sum("llamacpp:tokens_predicted_total"),
    },
  },
  {
    name: "TGI",
    read: {
      running: sum("tgi_batch_current_size"),
      waiting: sum("tgi_queue_size"),
      kvUse: untold,
      preemptions: untold,
      // Sums of histograms: they grow when a request ends.
      promptTokens: sum("tgi_request_input_length_sum"),
      generatedTokens: sum("tgi_request_generated_tokens_sum"),
    },
  },
];

export const dialectNames: readonly string[] = dialects.map(({ name }) => name);

/** What the samples say in the first dialect that knows any of them; null where none does. */
export function readServer(
  samples: Samples,
): { readonly dialect: string; readonly reading: ServerReading } | null {
  for (const { name, read } of dialects) {
    const entries = serverQuantities.map(
      (quantity) => [quantity, read[quantity](samples)] as const,
    );
    if (entries.some(([, value]) => value !== null))
      return { dialect: name, reading: Object.fromEntries(entries) as ServerReading };
  }
  return null;
}
