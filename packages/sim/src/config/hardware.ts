/** Schemas of models, devices and precisions: a catalogue name, or the numbers themselves. */
import { z } from "zod";
import type { DeviceSpec, ModelSpec } from "../types.ts";
import { bandwidth, count, name, positive, size } from "./quantities.ts";

/** Geometry of a decoder-only transformer, as written in a file; what is left out follows from the rest. */
export const modelGeometry = z
  .strictObject({
    name: name.default("custom"),
    layers: count,
    hidden: count.describe("Width of the residual stream."),
    heads: count.describe("Query heads."),
    kvHeads: count.optional().describe("Key and value heads. Default: heads."),
    headDim: count.optional().describe("Elements per head. Default: hidden / heads."),
    ffn: count.describe("Width of the MLP, of one expert where there are experts."),
    gated: z.boolean().default(true).describe("The MLP has a gate projection (SwiGLU)."),
    vocab: count,
    tiedEmbeddings: z.boolean().default(false),
    postAttentionNorm: z
      .boolean()
      .default(true)
      .describe("A separate norm before the MLP; false for parallel attention and MLP."),
    maxContext: count.default(8192).describe("Most tokens of one request, prompt and output."),
    experts: z
      .strictObject({ count, active: count, shared: z.int().min(0).default(0) })
      .optional()
      .describe("Mixture of experts: experts per layer, active per token, always active."),
    slidingWindow: count.optional().describe("Tokens of attention window. Default: full."),
    latentKv: count
      .optional()
      .describe("Elements of latent KV per token and layer (multi-head latent attention)."),
  })
  .superRefine((m, ctx) => {
    if (m.headDim === undefined && m.hidden % m.heads !== 0)
      ctx.addIssue({
        code: "custom",
        path: ["heads"],
        message: `${m.heads} heads do not divide hidden ${m.hidden}`,
        params: { hint: "give headDim" },
      });
    if (m.kvHeads !== undefined && m.heads % m.kvHeads !== 0)
      ctx.addIssue({
        code: "custom",
        path: ["kvHeads"],
        message: `${m.kvHeads} KV heads do not divide ${m.heads} heads`,
        params: { hint: `take a divisor of ${m.heads}` },
      });
    if (m.experts !== undefined && m.experts.active > m.experts.count)
      ctx.addIssue({
        code: "custom",
        path: ["experts", "active"],
        message: `${m.experts.active} active experts are more than the ${m.experts.count} there are`,
        params: { hint: "active counts the routed experts of one token, shared ones apart" },
      });
  });

/** A model: catalogue name, path of a Hugging Face config.json, or geometry. */
export const modelRef = z
  .union([name, modelGeometry])
  .describe(
    "A catalogue name (see `millrace models`), the path of a Hugging Face config.json, or the geometry.",
  );

/** One accelerator: six numbers and a price. */
export const deviceNumbers = z.strictObject({
  name: name.default("custom"),
  tflops: positive.describe("Dense fp16 tensor peak, TFLOP/s."),
  fp8Tflops: positive.optional().describe("Dense fp8 tensor peak, TFLOP/s. Default: none."),
  memoryBytes: size.describe("Device memory, e.g. 80GB."),
  memoryBandwidth: bandwidth.describe("Memory bandwidth per second, e.g. 2039GB."),
  linkBandwidth: bandwidth
    .default(32e9)
    .describe("Link between devices of a server, per second and direction. Default: 32GB (PCIe)."),
  networkBandwidth: bandwidth
    .default(12.5e9)
    .describe("Link between servers, per second. Default: 12.5GB (100 Gb/s)."),
  devicesPerServer: count.default(8),
  dollarsPerHour: z.number().min(0).default(0),
});

/** A device: catalogue name, name under `devices`, or its numbers. */
export const deviceRef = z
  .union([name, deviceNumbers])
  .describe("A catalogue name (see `millrace devices`), a name under `devices`, or the numbers.");

/** Devices and models of one's own, by name. */
export const ownDevices = z
  .record(name, deviceNumbers)
  .optional()
  .describe("Devices of your own, by name: six numbers and a price.");
export const ownModels = z
  .record(name, modelRef)
  .optional()
  .describe("Models of your own, by name: geometry, or the path of a Hugging Face config.json.");

/** Bytes per element of the precisions that can be named. */
export const bytesOfPrecision = { fp16: 2, bf16: 2, fp8: 1, int8: 1, int4: 0.5 } as const;

export const precision = z
  .strictObject({
    weights: z.enum(["fp16", "bf16", "fp8", "int8", "int4"]).default("fp16"),
    kv: z.enum(["fp16", "bf16", "fp8", "int8"]).default("fp16"),
  })
  .describe("Number formats of the weights and of the KV cache.");

/** Geometry as written, with everything filled in. */
export function toModelSpec(m: z.output<typeof modelGeometry>, source: string): ModelSpec {
  return {
    name: m.name,
    layers: m.layers,
    hidden: m.hidden,
    heads: m.heads,
    kvHeads: m.kvHeads ?? m.heads,
    headDim: m.headDim ?? m.hidden / m.heads,
    ffn: m.ffn,
    gated: m.gated,
    vocab: m.vocab,
    tiedEmbeddings: m.tiedEmbeddings,
    postAttentionNorm: m.postAttentionNorm,
    maxContext: m.maxContext,
    ...(m.experts === undefined ? {} : { experts: m.experts }),
    ...(m.slidingWindow === undefined ? {} : { slidingWindow: m.slidingWindow }),
    ...(m.latentKv === undefined ? {} : { latentKv: m.latentKv }),
    source,
  };
}

/** Device numbers as written, as a spec. */
export function toDeviceSpec(d: z.output<typeof deviceNumbers>, source: string): DeviceSpec {
  const { fp8Tflops, ...rest } = d;
  return { ...rest, ...(fp8Tflops === undefined ? {} : { fp8Tflops }), source };
}
