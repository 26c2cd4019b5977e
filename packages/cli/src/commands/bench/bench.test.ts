import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const main = fileURLToPath(new URL("../../main.ts", import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const node = ["--conditions=millrace:source", "--import", tsx, main];

let server: Server;
let url: string;
const folder = mkdtempSync(join(tmpdir(), "millrace-bench-"));

beforeAll(async () => {
  server = createServer(async (request, response) => {
    if (request.url === "/v1/models") {
      response.end('{"object":"list","data":[{"id":"only"}]}');
      return;
    }
    if (request.url === "/metrics") {
      response.end('vllm:num_requests_running{engine="0"} 2\nvllm:kv_cache_usage_perc 0.5\n');
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const { max_tokens: n } = JSON.parse(Buffer.concat(parts).toString()) as { max_tokens: number };
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let i = 0; i < n; i++) {
      response.write(`data: {"choices":[{"index":0,"delta":{"content":"word${i} "}}]}\n\n`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.write(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n`);
    response.write(`data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":${n}}}\n\n`);
    response.end("data: [DONE]\n\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function millrace(...argv: string[]): Promise<{ status: number; out: string; err: string }> {
  const child = spawn(process.execPath, [...node, ...argv], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "", MILLRACE_API_KEY: "" },
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (data) => {
    out += data;
  });
  child.stderr.on("data", (data) => {
    err += data;
  });
  const [status] = (await once(child, "close")) as [number];
  return { status, out, err };
}

const short = ["--rate", "100", "-n", "12", "--prompt-tokens", "5", "--output-tokens", "4..8"];

test("measures, keeps the raw run, and scores it again with the same figures", async () => {
  const run = await millrace("bench", "-u", url, ...short, "-o", "out", "--json");
  expect(run.status).toBe(0);
  const report = JSON.parse(run.out);
  expect(report).toMatchObject({
    schema: "millrace.bench/1",
    endpoint: { model: "only" },
    requests: { scheduled: 12, ok: 12, failed: 0, warmup: 2 },
    tokens: { sources: { usage: 12 } },
  });
  expect(JSON.parse(readFileSync(join(folder, "out", "report.json"), "utf8"))).toEqual(report);
  const again = await millrace("bench", "score", "out/run.jsonl", "--json");
  expect(JSON.parse(again.out)).toEqual(report);
});

test("a broken promise ends with 3 after the result, in people's words", async () => {
  const { status, out, err } = await millrace(
    ...["bench", "-u", url, ...short, "--slo", "ttft.p50<=1us,errors<=0%"],
  );
  expect(status).toBe(3);
  expect(out).toMatch(/✗ ttft.p50<=1us/);
  expect(out).toMatch(/✓ errors<=0%/);
  expect(out).toContain("fluidity-index");
  expect(err).toContain("SLO_BREACHED");
});

test("reads the server's metrics meanwhile, or says why it could not", async () => {
  const { status, out } = await millrace(
    ...["bench", "-u", url, ...short, "--scrape", "-o", "scraped"],
  );
  expect(status).toBe(0);
  expect(out).toMatch(/2 running \(most 2\), KV 50% .*readings of vLLM metrics/);
  expect(readFileSync(join(folder, "scraped", "report.html"), "utf8")).toContain(
    "What the server told meanwhile",
  );
  const none = await millrace(
    ...["bench", "-u", url, ...short, "--scrape", "http://127.0.0.1:9/metrics"],
  );
  expect(none.status).toBe(0);
  expect(none.out).toContain("http://127.0.0.1:9/metrics could not be read");
}, 30_000);

test.each([
  [["bench"], 2, "which endpoint"],
  [["bench", "-u", "nonsense", "-m", "x"], 2, "is not a URL"],
  [["bench", "-u", "http://127.0.0.1:9", "-m", "x"], 4, "refused"],
  [["bench", "-u", "http://127.0.0.1:9"], 4, "refused"],
  [["bench", "-u", "http://a", "-m", "x", "--rate", "1", "--concurrency", "2"], 2, "exclude"],
  [["bench", "-u", "http://a", "-m", "x", "--ramp", "1..2"], 2, "needs --duration"],
  [["bench", "-u", "http://a", "-m", "x", "--timeout", "dns=1s"], 2, "names are connect"],
  [["bench", "-u", "http://a", "-m", "x", "--header", "nonsense"], 2, "name:value"],
  [["bench", "score", "no-such-file"], 2, "no-such-file"],
] as const)("%j is refused with one clear error", async (argv, status, why) => {
  const result = await millrace(...argv);
  expect(result.err).toContain(why);
  expect(result.status).toBe(status);
  expect(result.out).toBe("");
});
