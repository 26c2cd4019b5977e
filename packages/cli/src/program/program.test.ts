import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { millrace, millraceOn } from "../testing.conformance.ts";
import { version } from "./version.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

describe("help", () => {
  test("no command prints the help on stdout", async () => {
    const { exit, out, err } = await millrace();
    expect(exit).toBe(0);
    expect(err).toBe("");
    for (const word of ["simulate", "plan", "doctor", "Examples:", "--json"])
      expect(out).toContain(word);
  });

  test("--help, help COMMAND and COMMAND --help show flags and examples", async () => {
    const [a, b] = await Promise.all([millrace("help", "plan"), millrace("plan", "--help")]);
    expect(a).toEqual(b);
    expect(a.exit).toBe(0);
    expect(a.out).toContain("--queue <url>");
    expect(a.out).toContain("$ millrace plan -c plan.yaml");
    expect(a.out).toContain("--no-color");
    expect((await millrace("--help")).out).toContain("Serving:");
    expect((await millrace("help", "workloads", "fit")).out).toContain("<log>");
  });

  test("--version is the package's", async () => {
    const manifest = new URL("../../package.json", import.meta.url);
    expect(JSON.parse(readFileSync(manifest, "utf8")).version).toBe(version);
    expect(await millrace("--version")).toEqual({ exit: 0, out: `${version}\n`, err: "" });
  });
});

describe("usage errors: exit 2, nothing on stdout, a hint", () => {
  test.each([
    [["simulat"], "unknown command simulat", 'did you mean "simulate"?'],
    [["help", "plna"], "unknown command plna", 'did you mean "plan"?'],
    [["workloads", "shwo"], "", ""],
    [["simulate", "--confg", "x"], "unknown flag --confg", 'did you mean "--config"?'],
    [["plan", "--jsn"], "unknown flag --jsn", 'did you mean "--json"?'],
    [["--jsn"], "unknown flag --jsn", 'did you mean "--json"?'],
    [["simulate", "--repeat", "0"], "--repeat", "whole number of at least 1"],
    [["completion", "tcsh"], "Allowed choices are bash, zsh, fish", "completion --help"],
    [["completion"], "missing required argument", "completion --help"],
    [["models", "llama-9-8b"], "MODEL_UNKNOWN", "hint"],
    [["devices", "h1000"], "DEVICE_UNKNOWN", "hint"],
    [["workloads", "show", "azure-conv-2032"], "azure-conv-2032", "azure-conv-2023"],
    [["explain", "SLO_BREACHD"], "unknown error code", 'did you mean "SLO_BREACHED"?'],
    [["simulate"], "no configuration is named", "millrace init run"],
    [["worker"], "no queue is named", "redis://"],
    [["reproduce", "sarati"], "sarati", 'did you mean "sarathi"?'],
  ])("%j", async (argv, message, hint) => {
    const { exit, out, err } = await millrace(...argv);
    expect(exit).toBe(2);
    expect(out).toBe("");
    expect(err).toMatch(/^error\[[A-Z_]+\] /);
    expect(err).toContain(message);
    expect(err).toContain(hint);
    expect(err).toMatch(/docs: millrace explain [A-Z_]+\n$/);
  });

  test("with --json the error is one JSON line on stderr", async () => {
    const { exit, out, err } = await millrace("simulate", "--json", "-c", join(folder, "no.yaml"));
    expect(exit).toBe(2);
    expect(out).toBe("");
    expect(err.trimEnd().split("\n")).toHaveLength(1);
    expect(JSON.parse(err)).toMatchObject({
      schema: "millrace.error/1",
      code: "FILE_UNREADABLE",
      exit: 2,
    });
  });

  test("--debug adds the stack, nothing else does", async () => {
    expect((await millrace("models", "zzz")).err).not.toContain(" at ");
    expect((await millrace("models", "zzz", "--debug")).err).toContain(" at ");
  });
});

describe("configuration errors name file, line and column", () => {
  test.each([
    ["modle: x\ndevice: a100\n", ":1:1 modle: unknown key", 'did you mean "model"?'],
    [
      "model: llama-3-8b\ndevice: a100\nscheduler:\n  type: orca\n  tile: 64\n",
      ":5:9 scheduler.tile: orca has no such knob",
      "tile belongs to sarathi",
    ],
    [
      "model: llama-3-8b\ndevice: a1000\nworkload: { shape: sharegpt-chat, qps: 1 }\n",
      ":2:9 device: ",
      "hint",
    ],
    [
      "model: llama-3-8b\ndevice: a100\ntensorParallel: 3\nworkload: { shape: sharegpt-chat, qps: 1 }\n",
      ":3:17 tensorParallel: 32 heads",
      "divisor of 32",
    ],
    ["model: [\n", ":2:1 ", ""],
  ])("%j", async (text, place, hint) => {
    const path = file("bad.yaml", text);
    const { exit, out, err } = await millrace("simulate", "--config", path);
    expect(exit).toBe(2);
    expect(out).toBe("");
    expect(err).toContain(`${path}${place}`);
    expect(err).toMatch(new RegExp(hint.replace(/[?]/g, "\\?")));
    if (hint !== "") expect(err).toContain(" | ");
  });

  test("an overridden key is blamed on its flag", async () => {
    const path = file("ok.yaml", "model: llama-3-8b\ndevice: a100\n");
    const { exit, err } = await millrace("simulate", "-c", path, "-s", "replicas=none");
    expect(exit).toBe(2);
    expect(err).toContain("--set replicas=none");
  });

  test("a knob without effect is a warning on stderr, not an error", async () => {
    const text =
      "model: llama-3-8b\ndevice: a100\nscheduler: { type: vllm, chunkSize: 256 }\nworkload: { shape: sharegpt-chat, qps: 1, requests: 20 }\n";
    const { exit, out, err } = await millrace("simulate", "-c", file("w.yaml", text), "--json");
    expect(exit).toBe(0);
    expect(err).toContain("scheduler.chunkSize");
    expect(JSON.parse(out).requests).toBe(20);
  });
});

describe("simulate", () => {
  const text =
    "model: llama-3-8b\ndevice: a100\nworkload: { shape: azure-conv-2023, qps: 4, requests: 200 }\n";

  test("--json prints exactly one object with the contract's keys", async () => {
    const { exit, out, err } = await millrace("simulate", "-c", file("r.yaml", text), "--json");
    expect({ exit, err }).toEqual({ exit: 0, err: "" });
    const summary = JSON.parse(out);
    expect(summary).toMatchObject({
      schema: "millrace.simulate/1",
      requests: 200,
      completed: 200,
      rejected: 0,
      unfinished: 0,
      seed: 42,
      coreCpuMs: { cold: expect.any(Number), warm: null },
      fluidity: { index: expect.any(Number), missRate: expect.any(Number) },
    });
    for (const metric of ["ttftMs", "tbtMs", "e2eMs", "schedulingDelayMs"])
      expect(Object.keys(summary[metric])).toEqual(
        expect.arrayContaining(["mean", "p50", "p90", "p99", "max"]),
      );
  });

  test("--repeat measures first run and median; the result stays the same", async () => {
    const path = file("r.yaml", text);
    const once = JSON.parse((await millrace("simulate", "-c", path, "--json")).out);
    const thrice = JSON.parse(
      (await millrace("simulate", "-c", path, "--json", "--repeat", "3")).out,
    );
    expect(thrice.coreCpuMs.warm).toEqual(expect.any(Number));
    expect({ ...thrice, coreCpuMs: 0 }).toEqual({ ...once, coreCpuMs: 0 });
  });

  test("--out keeps requests, summary, timeline and report, and nothing else", async () => {
    const out = join(folder, "out");
    const ran = await millrace("simulate", "-c", file("r.yaml", text), "--out", out);
    expect(ran.exit).toBe(0);
    expect(ran.err).toContain(`wrote ${join(out, "requests.csv")}`);
    expect(readdirSync(out).sort()).toEqual([
      "report.html",
      "requests.csv",
      "summary.json",
      "trace.json",
    ]);
    const [header, first] = readFileSync(join(out, "requests.csv"), "utf8").split("\n");
    expect(header).toBe(
      "id,arrived_at,num_prefill_tokens,num_decode_tokens,scheduled_at,prefill_completed_at,completed_at,restarts",
    );
    expect(first?.split(",")).toHaveLength(8);
    expect(
      JSON.parse(readFileSync(join(out, "trace.json"), "utf8")).traceEvents.length,
    ).toBeGreaterThan(200);
    expect(readFileSync(join(out, "report.html"), "utf8")).toContain("<html");
  });

  test("a breached SLO is exit 3 after the result", async () => {
    const { exit, out, err } = await millrace(
      ...["simulate", "-c", file("r.yaml", text), "--json", "-s", "slo.ttftMs=1"],
    );
    expect(exit).toBe(3);
    expect(JSON.parse(out).slo).toMatchObject([{ met: false }]);
    expect(JSON.parse(err)).toMatchObject({ code: "SLO_BREACHED", exit: 3 });
  });

  test("what does not fit is exit 3, without output and without files", async () => {
    const out = join(folder, "none");
    const ran = await millrace(
      ...["simulate", "-c", file("r.yaml", text), "-s", "model=llama-3-70b", "--out", out],
    );
    expect(ran).toMatchObject({ exit: 3, out: "" });
    expect(ran.err).toContain("error[DEPLOYMENT_IMPOSSIBLE]");
    expect(readdirSync(folder)).not.toContain("none");
  });

  test("flags alone are enough", async () => {
    const { exit, out } = await millrace(
      ...["simulate", "--model", "llama-3-8b", "--device", "a100", "--shape", "sharegpt-chat"],
      ...["--qps", "2", "--requests", "50", "--scheduler", "sarathi", "--tp", "2", "--seed", "7"],
    );
    expect(exit).toBe(0);
    expect(out).toContain("2 × a100-80gb (TP 2, 1 replica), sarathi");
    expect(out).toContain("n = 50 requests, seed 7");
  });

  test("a trace is replayed as it is, ids included", async () => {
    const trace = file(
      "trace.csv",
      "num_decode_tokens,id,arrived_at,num_prefill_tokens\n3,b,1.5,100\n1,a,0.25,7\n",
    );
    const out = join(folder, "replayed");
    const config = file("m.yaml", "model: llama-3-8b\ndevice: a100\n");
    const ran = await millrace("simulate", "-c", config, "--trace", trace, "--out", out, "-q");
    expect(ran).toMatchObject({ exit: 0, err: "" });
    const rows = readFileSync(join(out, "requests.csv"), "utf8").trim().split("\n").slice(1);
    expect(rows.map((row) => row.split(",").slice(0, 4).join(","))).toEqual([
      "a,0.25,7,1",
      "b,1.5,100,3",
    ]);
  });

  test("a bad row of a trace is named", async () => {
    const trace = file("bad.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,5,0\n");
    const config = file("m.yaml", "model: llama-3-8b\ndevice: a100\n");
    const ran = await millrace("simulate", "-c", config, "--trace", trace);
    expect(ran.exit).toBe(2);
    expect(ran.err).toContain(`error[TRACE_INVALID] ${trace}:2:5`);
  });
});

describe("init", () => {
  test.each(["run", "plan", "serve"])("writes a %s that is valid, once", async (kind) => {
    const path = join(folder, `init-${kind}.yaml`);
    expect(await millrace("init", kind, path)).toMatchObject({ exit: 0 });
    const [first] = readFileSync(path, "utf8").split("\n");
    expect(first).toMatch(/^# yaml-language-server: \$schema=.*\.schema\.json$/);
    const again = await millrace("init", kind, path);
    expect(again.exit).toBe(2);
    expect(again.err).toContain("--force");
    expect(await millrace("init", kind, path, "--force")).toMatchObject({ exit: 0 });
  });

  test("the run it writes can be simulated", async () => {
    const path = join(folder, "init-run.yaml");
    await millrace("init", "run", path, "--force");
    const ran = await millrace("simulate", "-c", path, "--requests", "100", "--json");
    expect(ran.exit).toBe(0);
  });
});

describe("catalogue", () => {
  test("lists fit the terminal, pipes get everything", async () => {
    for (const columns of [60, 80, 120]) {
      const { out } = await millraceOn({ columns, environment: { NO_COLOR: "1" } }, "models");
      for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
    }
    expect((await millrace("models")).out).toContain("heads/kv");
  });

  test("colours on terminals alone, and not with NO_COLOR or --no-color", async () => {
    const ansi = "\u001b[";
    expect((await millraceOn({ columns: 80 }, "devices")).out).toContain(ansi);
    expect((await millraceOn({ columns: 80 }, "devices", "--no-color")).out).not.toContain(ansi);
    const environment = { NO_COLOR: "1" };
    expect((await millraceOn({ columns: 80, environment }, "devices")).out).not.toContain(ansi);
    expect((await millrace("devices")).out).not.toContain(ansi);
  });

  test.each([
    ["models", "models"],
    ["devices", "devices"],
    ["workloads", "shapes"],
    ["explain", "codes"],
  ])("%s --json is versioned", async (command, key) => {
    const { exit, out, err } = await millrace(command, "--json");
    expect({ exit, err }).toEqual({ exit: 0, err: "" });
    const object = JSON.parse(out);
    expect(object.schema).toBe(`millrace.${command}/1`);
    expect(object[key].length).toBeGreaterThan(2);
  });

  test("a Hugging Face config is a model", async () => {
    const config = { hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4 };
    const path = file(
      "config.json",
      JSON.stringify({ ...config, vocab_size: 99, model_type: "llama", intermediate_size: 128 }),
    );
    expect((await millrace("models", path)).out).toContain("2");
    const ran = await millrace(
      ...[
        "simulate",
        "--model",
        path,
        "--device",
        "l4",
        "--shape",
        "sharegpt-chat",
        "--qps",
        "1",
        "--requests",
        "9",
        "--json",
      ],
    );
    expect(ran.exit).toBe(0);
  });

  test("a log is fitted, and the shape serves as a workload", async () => {
    const rows = Array.from(
      { length: 400 },
      (_, i) => `${i},${10 + ((i * 37) % 500)},${1 + ((i * 13) % 90)}`,
    );
    const log = file(
      "log.csv",
      `arrived_at,num_prefill_tokens,num_decode_tokens\n${rows.join("\n")}\n`,
    );
    const shape = join(folder, "shape.json");
    const fitted = await millrace("workloads", "fit", log, "--out", shape);
    expect(fitted.exit).toBe(0);
    expect(fitted.out).toContain("400");
    const ran = await millrace(
      ...["simulate", "--model", "llama-3-8b", "--device", "a100", "--shape", shape, "--qps", "1"],
      ...["--requests", "30", "--json"],
    );
    expect(ran.exit).toBe(0);
    const broken = file("broken.json", readFileSync(shape, "utf8").replace('"n": 400', '"n": 0'));
    const refused = await millrace(
      ...["simulate", "--model", "llama-3-8b", "--device", "a100", "--shape", broken, "--qps", "1"],
    );
    expect(refused).toMatchObject({ exit: 2, out: "" });
  });
});

test("explain tells title, text and exit code, whatever the case", async () => {
  const { exit, out } = await millrace("explain", "slo-breached");
  expect(exit).toBe(0);
  expect(out).toContain("SLO_BREACHED");
  expect(out).toContain("Exit code 3.");
});

test("doctor says what is missing for what", async () => {
  const { exit, out } = await millrace("doctor");
  expect(exit).toBe(0);
  for (const word of ["Node", "ggml", "KV pages", "max_map_count", "KV memory", "huge pages"])
    expect(out).toContain(word);
  for (const word of ["Redis", "Chromium", "GPU", "CUDA driver", "zod"])
    expect(out).toContain(word);
  const json = JSON.parse((await millrace("doctor", "--json")).out);
  expect(json).toMatchObject({ schema: "millrace.doctor/1", version });
  for (const { disables } of json.findings) expect(disables).toEqual(expect.any(String));
  const ggml = json.findings.find(({ name }: { name: string }) => name === "ggml");
  if (ggml.state === "present") expect(ggml.detail).toMatch(/passed its self-test.*devices: .*CPU/);
});
