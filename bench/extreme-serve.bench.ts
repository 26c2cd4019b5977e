/**
 * Answers of `millrace extreme serve`, a process of its own, over HTTP: random made-up points one after the other on one
 * connection, the best 5 labels of each. Recall is against the exact scan on the same points. Environment: BENCH_CASES
 * (131072x256,1300000x128: labels x dimensions), BENCH_MODELS (a folder for each that `extreme train` made from these labels; without,
 * an epoch is trained here, over a million points at most), BENCH_INDEX (auto), BENCH_REQUESTS (8000).
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Rng } from "@millrace/core";
import {
  defaultTrainOptions,
  makeData,
  Predictor,
  presets,
  takeRows,
  trainModel,
} from "@millrace/extreme";
import { report } from "./harness.ts";

const cases = (process.env["BENCH_CASES"] ?? "131072x256,1300000x128").split(",");
const models = process.env["BENCH_MODELS"]?.split(",") ?? [];
const requests = Number(process.env["BENCH_REQUESTS"] ?? 8000);
const kind = process.env["BENCH_INDEX"] ?? "auto";
const bin = fileURLToPath(new URL("../packages/cli/bin/millrace.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "extreme-serve-"));

/** Starts the server of a model; its address. */
async function serve(model: string): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const server = spawn(
    process.execPath,
    [bin, "extreme", "serve", "--model", model, "--port", "0", "--index", kind],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const url = await new Promise<string>((resolve, reject) => {
    let seen = "";
    server.stderr.on("data", (part: Buffer) => {
      seen += part.toString();
      const found = /listening on (\S+)/.exec(seen);
      if (found?.[1] !== undefined) resolve(found[1]);
    });
    server.once("exit", () => reject(new Error(`the server ended: ${seen}`)));
  });
  const stop = async (): Promise<void> => {
    server.kill("SIGINT");
    await new Promise((resolve) => server.once("exit", resolve));
  };
  return { url, stop };
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

/** One request; the body of its answer. */
function ask(url: string, body: string | null): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: body === null ? "GET" : "POST", agent });
    sent.once("error", reject);
    sent.once("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.once("end", () => resolve(Buffer.concat(parts).toString()));
    });
    sent.end(body ?? undefined);
  });
}

async function measure(labels: number, dim: number, given: string | undefined): Promise<void> {
  const what = `${labels} x ${dim}${kind === "auto" ? "" : `, ${kind}`}`;
  const points = labels > 500_000 ? { points: 1_000_000 } : {};
  const { dataset } = makeData({ labels, seed: 1, testPoints: 2000, ...points });
  const { test } = dataset;
  if (test === null) throw new Error("no test points");
  const model = given ?? join(folder, String(labels));
  const train = { ...defaultTrainOptions, ...presets.fast, dim, epochs: 1 };
  if (given === undefined)
    await trainModel(dataset, { train, heldOut: 0, patience: 0, out: model, resume: false });
  const rng = new Rng("serve");
  const asked = Array.from({ length: requests }, () => rng.int(0, test.features.rows - 1));
  const exact = Predictor.load(model, { index: "exact" });
  const truth = new Map(
    [...new Set(asked)]
      .slice(0, 500)
      .map((id) => [id, exact.rankRows(takeRows(test.features, [id]), 5).labels]),
  );
  const started = performance.now();
  const server = await serve(model);
  const ready = (performance.now() - started) / 1e3;
  report(`${what}: from start to the first answer, index and its check`, ready, "s", 600);
  const { indptr, indices, values } = test.features;
  const times: number[] = [];
  let [same, all] = [0, 0];
  for (const id of asked) {
    const [from, to] = [indptr[id] as number, indptr[id + 1] as number];
    const features = {
      ids: [...indices.subarray(from, to)],
      ...(values === null ? {} : { values: [...values.subarray(from, to)] }),
    };
    const body = JSON.stringify({ features, k: 5 });
    const before = performance.now();
    const answer = await ask(`${server.url}/v1/predict`, body);
    times.push(performance.now() - before);
    const best = truth.get(id);
    if (best === undefined) continue;
    for (const { label } of (JSON.parse(answer) as { labels: { label: number }[] }).labels)
      if (best.includes(label)) same++;
    all += best.length;
  }
  // V8 goes on compiling for some thousand answers, the client's side as well.
  const cold = times.slice(0, requests / 8).sort((a, b) => a - b);
  const sorted = times.slice(requests / 2).sort((a, b) => a - b);
  const at = (share: number, of = sorted): number =>
    of[Math.floor(share * of.length)] ?? Number.NaN;
  report(`${what}: first ${cold.length} answers over HTTP, p99`, at(0.99, cold), "ms");
  report(`${what}: answer over HTTP, p50`, at(0.5), "ms");
  report(`${what}: answer over HTTP, p90`, at(0.9), "ms");
  report(`${what}: answer over HTTP, p99`, at(0.99), "ms", labels > 500_000 ? 5 : 2);
  report(`${what}: answer over HTTP, longest`, sorted.at(-1) ?? Number.NaN, "ms");
  report(`${what}: shortfall of recall@5`, 1 - same / all, "", 0.05);
  const seconds = /_seconds_sum (\S+)/.exec(await ask(`${server.url}/metrics`, null))?.[1];
  report(`${what}: of it ranking, mean`, (1e3 * Number(seconds)) / requests, "ms");
  await server.stop();
}

for (const [i, one] of cases.entries()) {
  const [labels = 0, dim = 0] = one.split("x").map(Number);
  await measure(labels, dim, models[i]);
}
agent.destroy();
rmSync(folder, { recursive: true });
