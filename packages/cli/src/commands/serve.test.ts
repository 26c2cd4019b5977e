import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { millrace } from "../testing.conformance.ts";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

let folder: string;
let model: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-serve-"));
  model = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", out: model });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** Starts the server as a process of its own; resolves with its URL once it says that it is ready. */
async function serve(...flags: string[]) {
  const child = spawn(
    process.execPath,
    [
      "--conditions=millrace:source",
      "--import",
      tsx,
      main,
      "serve",
      "-m",
      model,
      "-p",
      "0",
      ...flags,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  children.push(child);
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const found = /is served at (\S+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("close", () => reject(new Error(`it ended: ${said}`)));
  });
  return { child, url, said: () => said };
}

test.each(["auto", "libllama"])(
  "a %s server answers, drains on SIGTERM and exits 0",
  async (executor) => {
    const { child, url, said } = await serve("--executor", executor, "--name", "tiny");
    const answer = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "tiny", prompt: "Once", max_tokens: 12, ignore_eos: true }),
    });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ usage: { completion_tokens: 12 } });
    child.kill("SIGTERM");
    expect(await once(child, "close")).toEqual([0, null]);
    expect(said()).toContain("no new requests");
  },
);

test("what millrace init serve writes is served", async () => {
  const config = join(folder, "serve.yaml");
  expect(await millrace("init", "serve", config)).toMatchObject({ exit: 0 });
  const named = await millrace("serve", "--config", config, "--print-unit");
  expect(named.exit).toBe(2);
  expect(named.err).toContain("small.gguf");
  makeModel({ preset: "tiny", out: join(folder, "small.gguf") });
  const unit = await millrace("serve", "--config", config, "--print-unit");
  expect(unit.exit).toBe(0);
  expect(unit.out).toContain(`serve --config ${config}`);
  const { url } = await serve("--config", config);
  expect((await fetch(`${url}/ready`)).status).toBe(200);
});

test("an address that is taken is refused by name", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const ran = await millrace("serve", "-m", model, "-p", String(port));
  taken.close();
  expect(ran.exit).toBe(2);
  expect(ran.err).toContain(`127.0.0.1:${port} is taken`);
});

test("greedy text is the same on both executors and in every run", async () => {
  const run = async (executor: string) => {
    const { exit, out } = await millrace(
      "generate",
      "Once upon a time",
      ...["-m", model, "-n", "24", "-t", "0", "--executor", executor, "--json"],
    );
    expect(exit).toBe(0);
    return JSON.parse(out) as { tokens: number[]; completionTokens: number };
  };
  const first = await run("libllama");
  expect(first.completionTokens).toBe(first.tokens.length);
  expect((await run("libllama")).tokens).toEqual(first.tokens);
  expect((await run("auto")).tokens).toEqual(first.tokens);
});

test("a grammar and a JSON schema bind the output", async () => {
  const schema = join(folder, "person.json");
  writeFileSync(
    schema,
    JSON.stringify({
      type: "object",
      properties: { age: { type: "integer", minimum: 0, maximum: 99 }, ok: { type: "boolean" } },
      required: ["age", "ok"],
      additionalProperties: false,
    }),
  );
  const { exit, out } = await millrace(
    "generate",
    "A person:",
    ...["-m", model, "-n", "100", "--seed", "3", "--json-schema", schema, "--json"],
  );
  expect(exit).toBe(0);
  const said = JSON.parse(out) as { text: string; finish: string };
  expect(said.finish).toBe("stop");
  expect(JSON.parse(said.text)).toEqual({ age: expect.any(Number), ok: expect.any(Boolean) });
});

test("--print-unit prints a unit with absolute paths", async () => {
  const { exit, out } = await millrace("serve", "-m", model, "--print-unit", "--threads", "1");
  expect(exit).toBe(0);
  expect(out).toMatch(/ExecStart=\S+ \S+millrace\.js serve --model \S+tiny\.gguf --threads 1\n/);
  expect(out).toContain("TimeoutStopSec=40");
});

test.each([
  [["serve"], "USAGE", "--model"],
  [["serve", "-m", "none.gguf"], "FILE_UNREADABLE", "none.gguf"],
  [["serve", "-m", "MODEL", "--scheduler", "sarathy"], "CONFIG_INVALID", 'did you mean "sarathi"'],
  [["serve", "-m", "MODEL", "-s", "kv.page=5000"], "CONFIG_INVALID", "power of two"],
  [["serve", "-m", "MODEL", "-s", "scheduler.chunking=slo"], "CONFIG_INVALID", "profile"],
  [["generate", "x", "-m", "MODEL", "-t", "-1"], "USAGE", "--temperature"],
  [["generate", "x", "-m", "MODEL", "--grammar", "no.gbnf"], "FILE_UNREADABLE", "no.gbnf"],
  [["generate", "too long a prompt", "-m", "MODEL", "--context", "4"], "USAGE", "--context"],
])("%j is refused with a hint", async (argv, code, text) => {
  const { exit, err } = await millrace(...argv.map((arg) => (arg === "MODEL" ? model : arg)));
  expect(exit).toBe(2);
  expect(err).toContain(`error[${code}]`);
  expect(err).toContain(text);
});
