import { readConfig } from "@millrace/core/config";
import { expect, test } from "vitest";
import { resolveServe, type ServeContext } from "./resolve-serve.ts";
import { serveSchema } from "./serve-schema.ts";

const context: ServeContext = {
  cores: 8,
  modelContextTokens: 32768,
  tileTokens: 64,
  filePath: (path) => `/models/${path}`,
  readText: (path) => (path.endsWith("keys") ? "one\n\n two \n" : ""),
  readProfile: () => {
    throw new Error("not asked for");
  },
};

const resolve = (text: string, more: Partial<ServeContext> = {}) =>
  resolveServe(readConfig(text, { file: "serve.yaml", schema: serveSchema }).value, {
    ...context,
    ...more,
  });

test("a model is enough", () => {
  const { engine, server } = resolve("model: a.gguf");
  expect(engine).toMatchObject({
    modelPath: "/models/a.gguf",
    executor: "auto",
    threads: 7,
    contextTokens: 8192,
    scheduler: { type: "sarathi-serve", chunkSize: 128, tile: 64, chunking: "chunk-plus-decodes" },
    kv: { type: "vattention", layout: "per-layer" },
  });
  expect(server.host).toBe("127.0.0.1");
  expect(server.chatTemplate).toBeNull();
});

test("short forms, units and key files", () => {
  const { engine, server } = resolve(
    "model: a.gguf\nscheduler: vllm-v0\nkv: { memory: 2GiB, page: 4KiB }\nserver: { port: 0, apiKeyFile: keys, maxBody: 1MiB }\n",
    { cores: 2 },
  );
  expect(engine.scheduler.type).toBe("vllm-v0");
  expect(engine.threads).toBe(2);
  expect(engine.kv).toMatchObject({ memoryBytes: 2 * 1024 ** 3, pageBytes: 4096 });
  expect(server).toMatchObject({ port: 0, apiKeys: ["one", "two"], maxBodyBytes: 1024 ** 2 });
});

test.each([
  ["model: a.gguf\nkv: { page: 5000 }", /kv.page is 5000 bytes/],
  ["model: a.gguf\nscheduler: { chunking: slo }", /needs a step profile/],
  ["model: a.gguf\nscheduler: { chunkSize: 32 }", /less than the tile of 64/],
  ["model: a.gguf\nkv: paged", /no paged KV cache to serve from/],
  ["model: a.gguf\nkv: { backend: cuda }", /kv.backend cuda needs a CUDA device, and .* the CPU/],
  ["model: a.gguf\ndevice: CUDA0\nkv: { backend: memfd }", /memfd is host memory/],
  ["model: a.gguf\ndevice: cuda1\nkv: static", /static is host memory/],
  ["model: a.gguf\ndevice: Vulkan0", /cannot be mapped on Vulkan0/],
  ["model: a.gguf\nschedular: vllm-v0", /schedular/],
  ["{}", /model/],
])("%j is refused", (text, message) => {
  expect(() => resolve(text)).toThrow(message);
});

test("a CUDA device keeps its KV cache itself", () => {
  for (const kv of ["kv: { backend: cuda }", "kv: vattention", ""])
    expect(resolve(`model: a.gguf\ndevice: CUDA0\n${kv}`).engine.device).toBe("CUDA0");
  expect(resolve("model: a.gguf\nexecutor: libllama\ndevice: Vulkan0").engine.kv.backend).toBe(
    "auto",
  );
});
