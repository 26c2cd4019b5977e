/** Schema of `workload`: a WorkloadSpec as plain data, with short forms for the usual cases. */
import type { ArrivalSpec, LengthSpec, TrafficClassSpec, WorkloadSpec } from "@millrace/serving";
import { z } from "zod";
import { count, duration, instant, name, positive } from "./quantities.ts";

const qps = positive.describe("Requests per second.");
const scale = positive.optional().describe("Factor on the lengths. Default: 1.");
const file = z.string().min(1).describe("CSV file, relative to this file.");

const arrivals = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("poisson"), qps }),
    z.strictObject({
      type: z.literal("gamma"),
      qps,
      cv: z
        .number()
        .min(0)
        .describe("Standard deviation of the gaps over their mean; above 1 is bursty."),
    }),
    z.strictObject({
      type: z.literal("static"),
      qps: positive.optional().describe("One request every 1/qps seconds. Default: all at once."),
    }),
    z.strictObject({
      type: z.literal("diurnal"),
      qps: positive.describe("Requests per second at the trough."),
      peakFactor: z.number().min(1).describe("Rate at the peak over the rate at the trough."),
      period: duration.describe("Trough to trough, e.g. 24h."),
      phase: instant.optional().describe("Time after the trough at which the run starts."),
    }),
    z.strictObject({
      type: z.literal("trace"),
      path: file,
      timeScale: positive.optional().describe("Factor on the times; 0.5 replays twice as fast."),
      from: instant.optional(),
      to: duration.optional(),
    }),
  ])
  .describe("When requests arrive.");

const split = positive.describe("Prompt tokens per output token.");
const range = z.strictObject({ min: count, max: count });
const lengths = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("fixed"), prompt: count, output: count }),
    z.strictObject({ type: z.literal("uniform"), min: count, max: count, promptToOutput: split }),
    z.strictObject({ type: z.literal("range"), prompt: range, output: range }),
    z.strictObject({
      type: z.literal("zipf"),
      min: count,
      max: count,
      theta: z.number().min(0),
      promptToOutput: split,
      scramble: z.boolean().optional(),
    }),
    z.strictObject({
      type: z.literal("shape"),
      name: name.describe("A name that `millrace workloads` lists."),
      promptScale: scale,
      outputScale: scale,
    }),
    z.strictObject({
      type: z.literal("trace"),
      path: file,
      order: z.enum(["file", "shuffled"]).optional(),
      promptScale: scale,
      outputScale: scale,
    }),
  ])
  .describe("How long prompts and outputs are, in tokens.");

const trafficClass = z.strictObject({
  name,
  priority: z.int().optional().describe("Lower is more urgent. Default: 0."),
  share: positive
    .optional()
    .describe("Part of the common arrivals, relative to the others. Default: 1."),
  arrivals: arrivals.optional(),
  lengths: lengths.optional(),
});

const workloadObject = z
  .strictObject({
    shape: name
      .optional()
      .describe("Lengths like those of a measured workload; see `millrace workloads`."),
    trace: file
      .optional()
      .describe("CSV file whose lengths, and without qps also arrivals, are replayed."),
    qps: positive.optional().describe("Poisson arrivals at this rate."),
    arrivals: arrivals.optional(),
    lengths: lengths.optional(),
    requests: count.optional().describe("Ends after this many requests. Default: 2000."),
    duration: duration.optional().describe("Ends after this time, e.g. 10min."),
    maxTokens: z.int().min(2).optional().describe("Most tokens of a request, prompt and output. Default: the model's context."),
    clip: z
      .enum(["proportional", "prompt", "output", "drop"])
      .optional()
      .describe("What happens to a longer one. Default: proportional."),
    classes: z
      .array(trafficClass)
      .min(1)
      .max(256)
      .optional()
      .describe("Traffic of several kinds, each with its priority, share, arrivals or lengths."),
  })
  .superRefine((w, ctx) => {
    const clash = (key: string, with_: string) =>
      ctx.addIssue({
        code: "custom",
        path: [key],
        message: `cannot stand beside ${with_}`,
        params: { hint: "keep one of the two" },
      });
    if (w.qps !== undefined && w.arrivals !== undefined) clash("qps", "arrivals");
    if (w.shape !== undefined && w.lengths !== undefined) clash("shape", "lengths");
    if (w.trace !== undefined && w.lengths !== undefined) clash("trace", "lengths");
    if (w.trace !== undefined && w.shape !== undefined) clash("trace", "shape");
    for (const [key, spec] of [["lengths", w.lengths] as const])
      if (spec !== undefined && "min" in spec && spec.min > spec.max)
        ctx.addIssue({
          code: "custom",
          path: [key, "min"],
          message: `${spec.min} is above max ${spec.max}`,
          params: { hint: "swap them" },
        });
  });

/** `workload: azure-conv-2023`, or the parts of a workload. */
export const workload = z
  .union([name.transform((shape) => ({ shape })), workloadObject])
  .describe("What arrives: a shape's name, or arrivals and lengths.");
export type WorkloadInput = z.output<typeof workload>;

/** The workload that was described; `turnPath` makes the path of a file it names one that can be opened. */
export function resolveWorkload(
  input: WorkloadInput,
  turnPath: (path: string) => string = (path) => path,
): WorkloadSpec {
  const w: z.output<typeof workloadObject> = input;
  const trace = w.trace === undefined ? undefined : turnPath(w.trace);
  const given = {
    arrivals: withPath(w.arrivals, turnPath),
    lengths: withPath(w.lengths, turnPath),
    classes: w.classes?.map((kind) => ({
      ...kind,
      arrivals: withPath(kind.arrivals, turnPath),
      lengths: withPath(kind.lengths, turnPath),
    })),
  };
  const arrivals =
    given.arrivals ??
    (w.qps !== undefined
      ? { type: "poisson", qps: w.qps }
      : trace !== undefined
        ? { type: "trace", path: trace }
        : undefined);
  const replayed = arrivals?.type === "trace" && arrivals.path === trace;
  const lengths =
    given.lengths ??
    (w.shape !== undefined
      ? { type: "shape", name: w.shape }
      : trace !== undefined
        ? { type: "trace", path: trace, order: replayed ? "file" : "shuffled" }
        : undefined);
  const { requests, duration: seconds, maxTokens, clip } = w;
  return compact({
    arrivals: arrivals === undefined ? undefined : (compact(arrivals) as ArrivalSpec),
    lengths: lengths === undefined ? undefined : (compact(lengths) as LengthSpec),
    requests,
    duration: seconds,
    maxTokens,
    clip,
    classes: given.classes?.map(
      (kind) =>
        compact({
          ...kind,
          arrivals: kind.arrivals && compact(kind.arrivals),
          lengths: kind.lengths && compact(kind.lengths),
        }) as TrafficClassSpec,
    ),
  }) as WorkloadSpec;
}

/** A workload that ends: with its trace, or after 2000 requests when nothing else is said. */
export function finite(spec: WorkloadSpec): WorkloadSpec {
  const ends =
    spec.requests !== undefined || spec.duration !== undefined || spec.arrivals?.type === "trace";
  return ends ? spec : { ...spec, requests: 2000 };
}

function withPath<T extends { readonly type: string } | undefined>(
  spec: T,
  turnPath: (path: string) => string,
): T {
  if (spec === undefined || spec.type !== "trace" || !("path" in spec)) return spec;
  return { ...spec, path: turnPath(String(spec.path)) };
}

/** Without the keys whose value is undefined. */
function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as T;
}
