import { MillraceError } from "@millrace/core";
import { describe, expect, it } from "vitest";
import { devices, findDevice } from "./devices.ts";
import { findModel, models } from "./models.ts";
import { normalName } from "./names.ts";
import { kvBytesPerToken, parameterCount } from "./parameters.ts";

describe("models", () => {
  // Published totals in billions: design notes section 5, and the model cards for the rest.
  it.each([
    ["Llama-2-7b", 6.74],
    ["Llama-2-13b", 13.02],
    ["Llama-2-70b", 68.98],
    ["CodeLlama-34b", 33.74],
    ["Llama-3.1-8B", 8.03],
    ["llama-3-70b", 70.55],
    ["Llama-3.1-405B", 405.85],
    ["Llama-3.2-1B", 1.24],
    ["Llama-3.2-3B", 3.21],
    ["TinyLlama-1.1B", 1.1],
    ["Qwen-72B", 72.29],
    ["Qwen/Qwen2-7B", 7.62],
    ["Qwen2.5-0.5B", 0.494],
    ["Qwen2.5-1.5B", 1.54],
    ["Qwen2.5-3B", 3.09],
    ["Qwen2.5-14B", 14.77],
    ["Qwen2.5-32B", 32.76],
    ["Qwen2.5-72B", 72.71],
    ["Qwen3-0.6B", 0.596],
    ["Qwen3-4B", 4.02],
    ["Qwen3-8B", 8.19],
    ["Qwen3-14B", 14.77],
    ["Qwen3-32B", 32.76],
    ["Qwen3-30B-A3B", 30.53],
    ["Qwen3-235B-A22B", 235.09],
    ["Mistral-7B-v0.1", 7.24],
    ["Mistral-7B-v0.3", 7.25],
    ["Mistral-Nemo-2407", 12.25],
    ["Mixtral-8x7B", 46.7],
    ["Mixtral-8x22B", 140.62],
    ["Yi-6B", 6.06],
    ["Yi-34B", 34.39],
    ["internlm-20b", 20.09],
    ["internlm2-20b", 19.86],
    ["falcon-7b", 6.92],
    ["falcon-180B", 179.52],
    ["gemma-2-9b", 9.24],
    ["gemma-2-27b", 27.23],
    ["phi-2", 2.78],
    ["Phi-3-mini-4k", 3.82],
    ["phi-4", 14.66],
    ["gpt2", 0.124],
    ["gpt2-xl", 1.558],
    ["gpt-3", 174.6],
    ["gpt-neox-20b", 20.55],
    ["opt-1.3b", 1.316],
    ["opt-6.7b", 6.658],
    ["opt-13b", 12.85],
    ["opt-30b", 29.97],
    ["opt-66b", 65.7],
    ["gpt-oss-20b", 20.9],
    ["gpt-oss-120b", 116.8],
    ["DeepSeek-V2-Lite", 15.7],
    ["DeepSeek-V2", 235.7],
    ["DeepSeek-V3", 671],
  ])("%s has its published parameter count", (name, billions) => {
    const total = parameterCount(findModel(name)).total / 1e9;
    expect(Math.abs(total / billions - 1)).toBeLessThan(0.005);
  });

  it.each([
    ["Mixtral-8x7B", 12.9],
    ["Mixtral-8x22B", 39.2],
    ["Qwen3-30B-A3B", 3.35],
    ["DeepSeek-V3", 37.6],
  ])("%s has its published active parameters", (name, billions) => {
    const active = parameterCount(findModel(name)).active / 1e9;
    expect(Math.abs(active / billions - 1)).toBeLessThan(0.01);
  });

  it.each([
    ["Llama-2-7b", 512],
    ["Llama-3-70b", 320],
    ["Llama-3.1-405B", 504],
    ["Qwen2-7B", 56],
    ["Qwen3-30B-A3B", 96],
    ["phi-4", 200],
  ])("%s has its KV bytes per token", (name, kib) => {
    expect(kvBytesPerToken(findModel(name), 2)).toBe(kib * 1024);
  });

  it("resolves the names that scripts use", () => {
    expect(findModel("Qwen/Qwen2-7B").layers).toBe(28);
    expect(findModel("llama-3-70b").name).toBe("meta-llama/Meta-Llama-3-70B");
    expect(findModel("meta-llama/Meta-Llama-3-70B-Instruct").hidden).toBe(8192);
    expect(findModel("meta-llama/Llama-2-70b-hf").vocab).toBe(32000);
    expect(findModel("Mistral-7B").vocab).toBe(32768);
  });

  it("proposes the nearest name", () => {
    try {
      findModel("lama-3-70b");
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(MillraceError);
      expect((error as MillraceError).code).toBe("MODEL_UNKNOWN");
      expect((error as MillraceError).hint).toContain("Meta-Llama-3-70B");
    }
  });

  it("splits heads and layers into whole numbers", () => {
    for (const model of models) {
      expect(model.heads % model.kvHeads, model.name).toBe(0);
      expect(findModel(model.name)).toBe(model);
    }
  });
});

describe("devices", () => {
  it("finds every device by name and alias", () => {
    for (const device of devices)
      for (const name of [device.name, ...(device.aliases ?? [])])
        expect(findDevice(name)).toBe(device);
    expect(findDevice("NVIDIA A100-SXM4-80GB").name).toBe("a100-80gb");
    expect(normalName("H100")).toBe("h100");
  });

  it("proposes the nearest name", () => {
    expect(() => findDevice("h1000")).toThrow(MillraceError);
    try {
      findDevice("h1000");
    } catch (error) {
      expect((error as MillraceError).code).toBe("DEVICE_UNKNOWN");
      expect((error as MillraceError).hint).toContain("h100");
    }
  });

  it("has plausible figures with a source each", () => {
    for (const device of devices) {
      expect(device.source.length).toBeGreaterThan(20);
      // operations per byte at the ridge of the roofline: 37 (H20) to 560 (L40S: 419)
      const ridge = (device.tflops * 1e12) / device.memoryBandwidth;
      expect(ridge, device.name).toBeGreaterThan(30);
      expect(ridge, device.name).toBeLessThan(600);
      expect(device.dollarsPerHour).toBeGreaterThan(0);
    }
  });
});
