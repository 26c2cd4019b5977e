import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Endpoint, RequestRecord, RunData, ServerSamples } from "../contracts.ts";
import { targets } from "../metrics/record.conformance.ts";
import { summarizeRun } from "../metrics/summary.ts";
import { mergeRuns } from "../raw/run-reader.ts";
import { startRun } from "../run/run.ts";
import { wordByWord } from "../run/test-server.conformance.ts";
import { readServer } from "./dialects.ts";
import { parseMetrics } from "./prometheus-text.ts";
import { ServerScraper } from "./scraper.ts";

type Handler = (response: ServerResponse, n: number, request: IncomingMessage) => void;

/** A server whose /metrics is scripted; everything else streams words. */
async function serve(metrics: Handler): Promise<{ url: string } & AsyncDisposable> {
  let n = 0;
  const server = createServer(async (request, response) => {
    if (request.method === "GET") {
      metrics(response, n++, request);
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    await wordByWord(response, JSON.parse(Buffer.concat(parts).toString()), 0, request);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const endpointOf = (url: string): Endpoint => ({ url, api: "chat", model: "m" });

/** Readings until the server has been asked `asked` times. */
async function scrape(
  metrics: Handler,
  asked: number,
  more: Partial<Endpoint> = {},
): Promise<ServerSamples> {
  let done = (): void => {};
  const enough = new Promise<void>((resolve) => {
    done = resolve;
  });
  await using server = await serve((response, n, request) => {
    metrics(response, n, request);
    if (n + 1 >= asked) done();
  });
  const start = performance.now();
  const scraper = new ServerScraper(
    { ...endpointOf(server.url), ...more },
    { intervalSeconds: 0.005 },
    () => Math.round((performance.now() - start) * 1000),
  );
  scraper.start();
  await enough;
  return await scraper.stop();
}

const vllm = (n: number): string =>
  [
    "# HELP vllm:num_requests_running Number of requests in model execution batches.",
    "# TYPE vllm:num_requests_running gauge",
    `vllm:num_requests_running{engine="0",model_name="a \\"b\\" {c}, d"} ${n}.0`,
    `vllm:num_requests_running{engine="1",model_name="m"} 1`,
    'vllm:num_requests_waiting{engine="0",model_name="m"} 7.0',
    'vllm:kv_cache_usage_perc{engine="0"} 0.25',
    'vllm:kv_cache_usage_perc{engine="1"} 0.75',
    `vllm:num_preemptions_total{engine="0"} ${2 * n}`,
    `vllm:generation_tokens_total{engine="0"} ${1e6 + 10 * n} 1712345678901`,
    'vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 3 # {trace_id="x"} 0.5',
    "",
  ].join("\n");

describe("what each server tells", () => {
  const nothing = { kvUse: null, preemptions: null };
  test.each([
    [
      "Millrace",
      'millrace_requests{state="waiting"} 3\nmillrace_requests{state="running"} 8\nmillrace_kv_groups{state="used"} 30\nmillrace_kv_groups{state="limit"} 120\nmillrace_preemptions_total 1\nmillrace_prompt_tokens_total 100\nmillrace_generated_tokens_total 50',
      {
        running: 8,
        waiting: 3,
        kvUse: 0.25,
        preemptions: 1,
        promptTokens: 100,
        generatedTokens: 50,
      },
    ],
    [
      "vLLM",
      vllm(4),
      {
        ...{ running: 5, waiting: 7, kvUse: 0.5, preemptions: 8 },
        ...{ promptTokens: null, generatedTokens: 1_000_040 },
      },
    ],
    [
      "vLLM",
      "vllm:gpu_cache_usage_perc 0.5",
      {
        ...{ running: null, waiting: null, kvUse: 0.5, preemptions: null },
        ...{ promptTokens: null, generatedTokens: null },
      },
    ],
    [
      "SGLang",
      'sglang:num_running_reqs{tp_rank="0",dp_rank="0"} 4\nsglang:num_running_reqs{tp_rank="1",dp_rank="0"} 4\nsglang:num_running_reqs{tp_rank="0",dp_rank="1"} 2\nsglang:num_queue_reqs{priority=""} 5\nsglang:num_queue_reqs{priority="1"} 3\nsglang:token_usage 0.9\nsglang:num_retracted_requests_total 6\nsglang:generation_tokens_total 70\nsglang:prompt_tokens_total 80',
      { running: 6, waiting: 5, kvUse: 0.9, preemptions: 6, promptTokens: 80, generatedTokens: 70 },
    ],
    [
      "llama.cpp",
      "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:prompt_tokens_total 9\nllamacpp:tokens_predicted_total 11",
      { running: 2, waiting: 1, ...nothing, promptTokens: 9, generatedTokens: 11 },
    ],
    [
      "TGI",
      "tgi_batch_current_size 4\ntgi_queue_size 7\ntgi_request_generated_tokens_sum 8123\ntgi_request_input_length_sum 99",
      { running: 4, waiting: 7, ...nothing, promptTokens: 99, generatedTokens: 8123 },
    ],
  ])("%s", (dialect, text, reading) => {
    const { samples, malformed } = parseMetrics(text);
    expect(malformed).toBe(0);
    expect(readServer(samples)).toEqual({ dialect, reading });
  });

  test("names that nobody knows say nothing", () => {
    expect(readServer(parseMetrics("process_cpu_seconds_total 5").samples)).toBeNull();
  });
});

describe("Prometheus text", () => {
  test("any name, labels and value come back", () => {
    const name = fc.stringMatching(/^[A-Za-z_:][A-Za-z0-9_:]{0,12}$/);
    const label = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/);
    const value = fc.oneof(fc.double(), fc.integer());
    const text = fc.string({ unit: "grapheme" }).filter((s) => !s.includes("\r"));
    const written = (v: number): string =>
      Number.isNaN(v) ? "NaN" : Math.abs(v) === Infinity ? (v > 0 ? "+Inf" : "-Inf") : String(v);
    const escaped = (s: string): string =>
      s.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
    const line = fc.tuple(name, fc.dictionary(label, text, { maxKeys: 4 }), value);
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), fc.boolean(), (lines, comma) => {
        const all = lines.map(([n, labels, v]) => {
          const pairs = Object.entries(labels).map(([k, s]) => `${k}="${escaped(s)}"`);
          const inside = pairs.length > 0 ? `{${pairs.join(",")}${comma ? "," : ""}}` : "";
          return `${n}${inside} ${written(v)}`;
        });
        const { samples, malformed } = parseMetrics(`# TYPE x gauge\n${all.join("\n")}\n# EOF\n`);
        expect(malformed).toBe(0);
        expect(
          samples.map(({ name, labels, value }) => [name, Object.fromEntries(labels), value + 0]),
        ).toEqual(lines.map(([n, labels, v]) => [n, { ...labels }, v + 0]));
      }),
    );
  });

  test("whatever else comes is counted and never thrown", () => {
    const piece = fc.constantFrom(
      ...[
        '{a="',
        "}",
        '"',
        "\\",
        ",",
        "=",
        " 1",
        "\n",
        "#",
        "x",
        "NaN",
        "\u0000",
        "{{{",
        "1e",
        "\t",
      ],
    );
    const soup = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 60 }).map((p) => p.join("")),
    );
    fc.assert(
      fc.property(soup, (text) => {
        const { samples, malformed, firstMalformed } = parseMetrics(text);
        const lines = text.split("\n").filter((l) => l.trim() !== "" && !l.trim().startsWith("#"));
        expect(samples.length + malformed).toBe(lines.length);
        expect(firstMalformed > 0).toBe(malformed > 0);
        readServer(samples);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    "x",
    "x{",
    'x{a="1"',
    "x{a=1} 1",
    "x 1 2 3",
    "1x 5",
    "x one",
    "<html>",
    'x{a="1" b="2"} 1',
  ])("%j is no sample", (line) =>
    expect(parseMetrics(`\n${line}\n`)).toMatchObject({ malformed: 1, firstMalformed: 2 }),
  );

  test("a line of a million quotes takes no time that grows with its square", () => {
    const line = `x{a="${'\\"'.repeat(5e5)}`;
    expect(parseMetrics(line).malformed).toBe(1);
  });
});

describe("reading meanwhile", () => {
  test("a counter that grows and falls, gauges that move", async () => {
    const samples = await scrape((response, n) => void response.end(vllm(n)), 6);
    expect(samples).toMatchObject({ dialect: "vLLM", failed: 0, remark: null });
    expect(samples.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    expect(samples.running).toEqual(samples.atUs.map((_, n) => n + 1));
    expect([...samples.atUs].sort((a, b) => a - b)).toEqual(samples.atUs);
  });

  test.each<[string, Handler, RegExp]>([
    [
      "404",
      (r) => void r.writeHead(404).end("no"),
      /could not be read \(it is answered with 404\)/,
    ],
    ["a reset", (r) => void r.destroy(), /could not be read/],
    ["HTML", (r) => void r.end("<html>\n<p>hi\n</html>"), /tells nothing .* 3 of its lines/],
    ["other names", (r) => void r.end("up 1\n"), /tells nothing under a name of Millrace, vLLM/],
    [
      "half of it",
      (r, n) => void (n % 2 === 0 ? r.end(vllm(n)) : r.writeHead(503).end()),
      /\d of \d readings failed \(it is answered with 503\)/,
    ],
    [
      "torn lines",
      (r, n) => void r.end(`${vllm(n)}oops {\n`),
      /1 of its lines are no Prometheus text, the first is line 11/,
    ],
  ])("%s is one remark", async (_, handler, remark) => {
    expect((await scrape(handler, 4)).remark).toMatch(remark);
  });

  test("secrets go to the endpoint's own host and to no other", async () => {
    const seen: (string | undefined)[] = [];
    const note: Handler = (response, _, { headers }) => {
      seen.push(headers.authorization, headers["x-team"] as string | undefined);
      response.end(vllm(1));
    };
    const secrets = { apiKey: "k", headers: { "x-team": "t" } };
    await scrape(note, 1, secrets);
    expect(seen.slice(0, 2)).toEqual(["Bearer k", "t"]);
    await using other = await serve(note);
    seen.length = 0;
    const scraper = new ServerScraper(
      { ...endpointOf("http://127.0.0.1:9/v1"), ...secrets },
      { url: `${other.url}/metrics` },
      () => 0,
    );
    await scraper.stop();
    expect(seen).toEqual([undefined, undefined]);
  });
});

describe("a run", () => {
  async function run(url: string, scrapeUrl?: string): Promise<RunData> {
    const one = startRun({
      endpoint: endpointOf(url),
      load: {
        arrivals: { type: "closed", concurrency: 2 },
        lengths: { type: "fixed", prompt: 5, output: 40 },
        requests: 20,
      },
      seed: 1,
      workers: 0,
      scrape: { intervalSeconds: 0.01, ...(scrapeUrl !== undefined && { url: scrapeUrl }) },
    });
    const records: RequestRecord[] = [];
    for await (const record of one) records.push(record);
    return { header: await one.header, records, end: await one.end };
  }

  test("carries what the server told, summed up, through a merge, too", async () => {
    await using server = await serve((response, n) => void response.end(vllm(n)));
    const data = await run(server.url);
    const { server: state } = summarizeRun(data, { targets });
    if (state === null) throw new Error("nothing was read");
    const n = state.samples;
    expect(n).toBeGreaterThan(1);
    expect(state).toMatchObject({
      ...{ dialect: "vLLM", failed: 0, remark: null, preemptions: 2 * (n - 1) },
      ...{ promptTokens: null, generatedTokens: 10 * (n - 1) },
      ...{ waiting: { mean: 7, max: 7 }, kvUse: { mean: 0.5, max: 0.5 }, running: { max: n } },
    });
    const kept = JSON.parse(JSON.stringify(data.end)) as RunData["end"];
    expect(summarizeRun({ ...data, end: kept }, { targets }).server).toEqual(state);
    const none = { ...data, end: data.end && { ...data.end } };
    delete (none.end as { server?: unknown }).server;
    expect(summarizeRun(none, { targets }).server).toBeNull();
    expect(summarizeRun(mergeRuns([none, data]), { targets }).server).toEqual(state);
  });

  test("goes on without a metrics endpoint that is not there", async () => {
    await using server = await serve((response) => void response.writeHead(404).end());
    const data = await run(server.url, "http://127.0.0.1:9/metrics");
    expect(data.end?.ok).toBe(20);
    const { server: state } = summarizeRun(data, { targets });
    expect(state).toMatchObject({ samples: 0, dialect: null, running: null, preemptions: null });
    expect(state?.remark).toMatch(
      /^http:\/\/127\.0\.0\.1:9\/metrics could not be read \(connect ECONNREFUSED/,
    );
  });
});
