/**
 * Fits the roofline predictor to a folder of Vidur profiles and writes its coefficient file:
 *   npx tsx --conditions=millrace:source tools/fit-roofline.ts ../shared/data/vidur/profiling [--check]
 * Only coefficients and residuals of a few percent leave this tool; the profiles themselves are not shipped.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type FitError, fitError } from "@millrace/serving";
import { findDevice } from "../packages/sim/src/catalogue/devices.ts";
import { findModel } from "../packages/sim/src/catalogue/models.ts";
import type {
  ByteCoefficients,
  DeviceCalibration,
  Elementwise,
  LinkFit,
} from "../packages/sim/src/predictor/roofline/calibration.ts";
import {
  type BytePoint,
  fitBytes,
  fitGemm,
  fitPrefill,
  heldOutGemm,
  type PrefillFit,
  type PrefillPoint,
  predictGemm,
  prefillSeconds,
  residualsOf,
} from "../packages/sim/src/predictor/roofline/fit.ts";
import type { Peaks } from "../packages/sim/src/predictor/roofline/gemm.ts";
import { column, MS, read, readLink, readMlp } from "./roofline-profiles.ts";

const target = fileURLToPath(
  new URL("../packages/sim/src/predictor/roofline/coefficients.ts", import.meta.url),
);
const folder = process.argv[2] ?? "";
if (!existsSync(join(folder, "compute"))) {
  console.error("usage: fit-roofline.ts FOLDER [--check]   (FOLDER holds compute/ and network/)");
  process.exit(2);
}

// ---------------------------------------------------------------- fitting

type Draft = Omit<DeviceCalibration, "attention" | "elementwise"> & {
  readonly elementwise: Record<Exclude<Elementwise, "kv_save">, ByteCoefficients>;
};

function fitDevice(name: string, files: readonly string[], links: string | null): Draft {
  const device = findDevice(name);
  const peaks: Peaks = { flops: device.tflops * 1e12, bandwidth: device.memoryBandwidth };
  const profile = readMlp(folder, files, peaks);
  const gemm = fitGemm(profile.gemm, peaks);
  const residuals = residualsOf(profile.gemm, gemm, peaks);
  const errors: Record<string, FitError> = {};
  const seen = predictGemm(profile.gemm, gemm, peaks, residuals);
  errors["products, profiled shapes"] = fitError(
    profile.gemm.map((p, i) => Math.abs((seen[i] as number) / p.seconds - 1)),
  );
  const held = heldOutGemm(profile.gemm, peaks, true);
  if (held.operator.n > 0) {
    errors["products, held out"] = held.operator;
    errors["sum of a layer's products, held out"] = held.layer;
  }
  const elementwise = {} as Record<Exclude<Elementwise, "kv_save">, ByteCoefficients>;
  for (const [operator, points] of Object.entries(profile.bytes)) {
    const { overhead, rate, error } = fitBytes(points);
    elementwise[operator as Exclude<Elementwise, "kv_save">] = {
      overhead,
      efficiency: rate / device.memoryBandwidth,
    };
    errors[operator] = error;
  }
  const reduce = links === null ? null : readLink(folder, `${links}/all_reduce.csv`, "all_reduce");
  const send = links === null ? null : readLink(folder, `${links}/send_recv.csv`, "send_recv");
  return {
    device: name,
    provenance: `fitted to ${profile.gemm.length} products of ${files.join(", ")}${links === null ? "" : ` and ${links}`} of microsoft/vidur${profile.dropped === 0 ? "" : ` (${profile.dropped} medians faster than the peak dropped)`}`,
    gemm,
    residuals,
    elementwise,
    allReduce: reduce?.fits ?? [],
    sendRecv: send?.fits ?? [],
    unfitted: [],
    errors: { ...errors, ...reduce?.errors, ...send?.errors },
  };
}

/** Attention kernels of the A30 profile: Qwen2-7B, FlashInfer, block size 16. Half of the points are held out for the errors. */
function fitAttention(file: string) {
  const device = findDevice("a30");
  const model = findModel("Qwen/Qwen2-7B");
  const kv = 2 * model.kvHeads * model.headDim * 2;
  const table = read(folder, file);
  const [batch, chunk, history, decodeMs, prefillMs, saveMs] = [
    column(table, "batch_size"),
    column(table, "prefill_chunk_size"),
    column(table, "kv_cache_size"),
    column(table, "time_stats.attn_decode.median"),
    column(table, "time_stats.attn_prefill.median"),
    column(table, "time_stats.attn_kv_cache_save.median"),
  ];
  const decode: BytePoint[] = [];
  const prefill: (PrefillPoint & { readonly chunk: number })[] = [];
  const save: BytePoint[] = [];
  for (let r = 0; r < table.rows; r++) {
    const [b, c, h] = [batch(r), chunk(r), history(r)];
    save.push({ bytes: 2 * kv * Math.max(b, c), seconds: saveMs(r) * MS });
    if (c === 0) decode.push({ bytes: b * h * kv, seconds: decodeMs(r) * MS });
    else prefill.push({ chunk: c, pairs: c * (h + c), keys: h + c, seconds: prefillMs(r) * MS });
  }
  const half = <T>(points: readonly T[], parity: number): T[] =>
    points.filter((_, i) => i % 2 === parity);
  const decodeFit = fitBytes(decode);
  const trained = fitBytes(half(decode, 0));
  const heldDecode = fitError(
    half(decode, 1).map((p) =>
      Math.abs((trained.overhead + p.bytes / trained.rate) / p.seconds - 1),
    ),
  );
  const errorsOf = (fit: PrefillFit, points: typeof prefill): FitError =>
    fitError(points.map((p) => Math.abs(prefillSeconds(fit, p) / p.seconds - 1)));
  const whole = fitPrefill(prefill);
  const held = fitPrefill(half(prefill, 0));
  const saveFit = fitBytes(save);
  return {
    decode: { overhead: decodeFit.overhead, efficiency: decodeFit.rate / device.memoryBandwidth },
    prefill: {
      overhead: whole.overhead,
      efficiency: (4 * model.heads * model.headDim) / (whole.perPair * device.tflops * 1e12),
      kvEfficiency: kv / (whole.perKey * device.memoryBandwidth),
      skipsMasked: false,
    },
    save: { overhead: saveFit.overhead, efficiency: saveFit.rate / device.memoryBandwidth },
    errors: {
      "decode attention, held out": heldDecode,
      "prefill attention, held out": errorsOf(held, half(prefill, 1)),
      "prefill attention, chunks of 256 and more, held out": errorsOf(
        held,
        half(prefill, 1).filter((p) => p.chunk >= 256),
      ),
      kv_save: saveFit.error,
    },
  };
}

/**
 * Prefill attention of FlashAttention-class kernels, which skip masked blocks. Share of the tensor peak reached:
 * FlashAttention-2 (Dao 2023, fig. 5) reports about 190 of 312 TFLOP/s causal forward on A100 at head size 128 and long
 * sequences, 0.45-0.6 between 1k and 16k; FlashAttention-3 (Shah et al. 2024, fig. 5) 0.45-0.65 of 989 on H100. Paged
 * and chunked use costs some of it. Recalled, not measured here.
 */
const literature = { "a100-80gb": 0.5, h100: 0.5 } as const;

const a100 = fitDevice(
  "a100-80gb",
  ["Llama-2-7b-hf", "Llama-2-70b-hf"].map((m) => `compute/a100/meta-llama/${m}/mlp.csv`),
  "network/a100_dgx",
);
const h100 = fitDevice(
  "h100",
  ["compute/h100/meta-llama/Llama-2-70b-hf/mlp.csv"],
  "network/h100_dgx",
);
const a30 = fitDevice("a30", ["compute/a30/Qwen/Qwen-2-7B/mlp.csv"], null);
const attention = fitAttention("compute/a30/Qwen/Qwen-2-7B/attention.csv");

function withLiterature(draft: Draft, efficiency: number): DeviceCalibration {
  return {
    ...draft,
    elementwise: { ...draft.elementwise, kv_save: attention.save },
    attention: {
      decode: attention.decode,
      prefill: { ...attention.prefill, efficiency, skipsMasked: true },
    },
    unfitted: [
      `${draft.device}: decode attention and KV writes have the overhead and share of bandwidth measured on A30`,
      `${draft.device}: prefill attention at ${efficiency} of the tensor peak (FlashAttention papers)`,
    ],
  };
}

/** Links of another device: overheads as they are, rates by the ratio of link speeds. */
function scaledLinks(fits: readonly LinkFit[], name: string): LinkFit[] {
  const from = findDevice(a100.device);
  const to = findDevice(name);
  return fits.map((fit) => ({
    ...fit,
    rate:
      fit.perServer === fit.workers
        ? (fit.rate * to.linkBandwidth) / from.linkBandwidth
        : (fit.rate * to.networkBandwidth) / from.networkBandwidth,
  }));
}

const linksOf = (name: string) => ({
  allReduce: scaledLinks(a100.allReduce, name),
  sendRecv: scaledLinks(a100.sendRecv, name),
});

/** Element-wise figures of a fit on all of Vidur's A40 profiles, which are not here: design notes section 4. */
const reportedA40: Record<Exclude<Elementwise, "kv_save">, ByteCoefficients> = {
  add: { overhead: 0.7e-6, efficiency: 0.86 },
  rope: { overhead: 1.2e-6, efficiency: 0.79 },
  norm: { overhead: 2.6e-6, efficiency: 0.61 },
  act: { overhead: 1.5e-6, efficiency: 0.78 },
  emb: { overhead: 2.0e-6, efficiency: 0.51 },
};

/** All-reduce across servers was profiled on A100 only: rates by the ratio of send/recv rates, which both have. */
function acrossServers(draft: Draft): DeviceCalibration["allReduce"] {
  const across = (fits: readonly LinkFit[]) => fits.filter((f) => f.perServer < f.workers);
  const ratio = (across(draft.sendRecv)[0]?.rate ?? 1) / (across(a100.sendRecv)[0]?.rate ?? 1);
  return [
    ...draft.allReduce,
    ...across(a100.allReduce).map((f) => ({ ...f, rate: f.rate * ratio })),
  ];
}

const scaledH100 = withLiterature({ ...h100, allReduce: acrossServers(h100) }, literature.h100);
const results: DeviceCalibration[] = [
  withLiterature(a100, literature["a100-80gb"]),
  {
    ...scaledH100,
    unfitted: [
      ...scaledH100.unfitted,
      "h100: all-reduce across servers scaled from A100 by send/recv rate",
    ],
  },
  {
    ...a30,
    ...linksOf("a30"),
    elementwise: { ...a30.elementwise, kv_save: attention.save },
    attention: { decode: attention.decode, prefill: attention.prefill },
    unfitted: ["a30: collectives scaled from A100 by link speed"],
    errors: { ...a30.errors, ...attention.errors },
  },
  {
    device: "a40",
    provenance:
      "element-wise operators as reported from Vidur's A40 profiles, not refitted; products as on A100",
    gemm: a100.gemm,
    residuals: null,
    ...linksOf("a40"),
    elementwise: { ...reportedA40, kv_save: attention.save },
    attention: { decode: attention.decode, prefill: attention.prefill },
    unfitted: [
      "a40: products have the shares of peak fitted on A100",
      "a40: attention has the shares of peak fitted on A30",
      "a40: collectives scaled from A100 by link speed",
    ],
    errors: {},
  },
];

// ---------------------------------------------------------------- writing

const rounded = (_: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
const text = JSON.stringify(results, rounded, 1).replace(/\[[\s\d,-]+\]/g, (list) =>
  list.replace(/\s+/g, ""),
);
writeFileSync(
  target,
  `/** Written by tools/fit-roofline.ts from profiles of microsoft/vidur (MIT licence): do not edit. Seconds, bytes per second. */
// biome-ignore-all format: generated
import type { DeviceCalibration } from "./calibration.ts";

export const calibrations: readonly DeviceCalibration[] = ${text};
`,
);
console.log(`wrote ${target} (${text.length} bytes)`);
for (const result of results) {
  const { gemm } = result;
  console.log(
    `\n${result.device}: ${result.provenance}\n  products: overhead ${(gemm.overhead * 1e6).toFixed(2)} us, peak ${gemm.efficiency.toFixed(3)}, bandwidth ${gemm.bandwidthEfficiency.toFixed(3)}, fill ${gemm.fill.toFixed(1)}, sharpness ${gemm.sharpness.toFixed(2)}`,
  );
  for (const [name, c] of Object.entries(result.elementwise))
    console.log(
      `  ${name}: ${(c.overhead * 1e6).toFixed(2)} us + bytes / ${c.efficiency.toFixed(2)} bw`,
    );
  const { decode, prefill } = result.attention;
  console.log(
    `  attention: decode ${(decode.overhead * 1e6).toFixed(1)} us + bytes / ${decode.efficiency.toFixed(2)} bw; prefill ${(prefill.overhead * 1e6).toFixed(1)} us, ${prefill.efficiency.toFixed(2)} of peak, KV at ${prefill.kvEfficiency.toFixed(2)} bw`,
  );
  for (const link of [...result.allReduce, ...result.sendRecv])
    console.log(
      `  link ${link.workers} (${link.perServer} per server): ${(link.overhead * 1e6).toFixed(1)} us, ${(link.rate / 1e9).toFixed(1)} GB/s`,
    );
  for (const [name, e] of Object.entries(result.errors))
    console.log(
      `  error ${name}: MAPE ${e.mape.toFixed(1)} %, p50 ${e.p50.toFixed(1)}, p90 ${e.p90.toFixed(1)} (n ${e.n})`,
    );
}

if (process.argv.includes("--check")) await import("./roofline-check.ts");
