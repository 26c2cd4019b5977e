import { readFileSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { ServerMetrics } from "./metrics.ts";
import { defaultServerOptions } from "./options.ts";
import { scriptedEngine } from "./scripted-engine.conformance.ts";
import { createServer, type Server } from "./server.ts";

let server: Server | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});

it("are the ones that the documentation lists", async () => {
  const metrics = new ServerMetrics(scriptedEngine(), defaultServerOptions.slo, () => 0);
  const page = readFileSync(new URL("../../../../docs/serving.md", import.meta.url), "utf8");
  expect(page).toContain(await metrics.table());
  metrics.close();
});

it("count tokens, times and outcomes, with labels that clients cannot make", async () => {
  server = createServer(scriptedEngine({ says: "abc" }), { port: 0 });
  const url = await server.listen();
  const ask = (path: string, body: object) =>
    fetch(url + path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
  await ask("/v1/completions", { prompt: "hello", n: 2 });
  await ask("/v1/completions", { prompt: "hello", stream: true }).then((r) => r.text());
  await ask("/v1/completions", { model: "made-up-by-client" });
  await fetch(`${url}/made/up`);
  const scrape = await fetch(`${url}/metrics`);
  expect(scrape.headers.get("content-type")).toContain("version=0.0.4");
  const text = await scrape.text();
  const value = (name: string) =>
    Number(new RegExp(`^${name.replace(/[{}]/g, "\\$&")} (.+)$`, "m").exec(text)?.[1]);
  expect(value("millrace_time_to_first_token_seconds_count")).toBe(3);
  expect(value("millrace_time_between_tokens_seconds_count")).toBe(6);
  expect(value("millrace_request_prompt_tokens_sum")).toBe(15);
  expect(value("millrace_request_output_tokens_sum")).toBe(9);
  expect(value("millrace_fluidity_index_count")).toBe(3);
  expect(value('millrace_choices_total{outcome="stop"}')).toBe(3);
  expect(value("millrace_choices_in_flight")).toBe(0);
  expect(value('millrace_http_responses_total{path="other",status="404"}')).toBe(1);
  expect(value('millrace_kv_groups{state="mapped"}')).toBe(4);
  expect(text).not.toContain("made");
});
