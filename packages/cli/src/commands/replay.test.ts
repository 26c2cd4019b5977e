import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GenerateRequest } from "@millrace/engine";
import { defaultSampling } from "@millrace/engine";
import { resolveServe, serveSchema } from "@millrace/engine/config";
import { engineModule, startEngine } from "@millrace/engine/process";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { millrace } from "../testing.conformance.ts";

let folder: string;
let model: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-replay-"));
  model = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", out: model });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function request(i: number): GenerateRequest {
  return {
    id: String(i),
    prompt: Int32Array.from({ length: 20 + 45 * i }, (_, k) => (k * 7 + (k > 200 ? i : 0)) % 400),
    maxTokens: 6 + 3 * i,
    sampling: { ...defaultSampling, seed: i },
    stop: [],
    stopTokens: [],
    ignoreEos: true,
    minTokens: 0,
    grammar: null,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
  };
}

test("measure, serve, replay: the simulator decides as the engine did, and its prediction is judged", async () => {
  const profile = join(folder, "profile.json");
  const logs = {
    decisions: join(folder, "decisions.jsonl"),
    timings: join(folder, "timings.jsonl"),
  };
  const measured = await millrace(
    "profile",
    ...["-m", model, "--quick", "--rounds", "3", "--context", "600", "--threads", "1"],
    ...["--learn", "0s", "--out", profile, "--json"],
  );
  expect(measured.err).toBe("");
  expect(JSON.parse(measured.out)).toMatchObject({ schema: "millrace.profile-summary/1" });

  const { engine: options } = resolveServe(
    serveSchema.parse({
      model,
      logs,
      threads: 1,
      contextTokens: 1024,
      kv: { memory: "64MiB", page: "4KiB" },
    }),
    {
      cores: 1,
      modelContextTokens: 2048,
      tileTokens: 64,
      filePath: (path) => path,
      readText: () => "",
      readProfile: () => {
        throw new Error("no profile was named");
      },
    },
  );
  const engine = await startEngine(options, { module: engineModule });
  const finishes = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      for await (const event of engine.generate(request(i), new AbortController().signal))
        if (event.type === "finish" || event.type === "error") return event;
      return null;
    }),
  );
  expect(finishes.map((event) => event?.type)).toEqual(Array(12).fill("finish"));
  const stats = await engine.stats();
  await engine.close();

  const replayed = await millrace(
    "simulate",
    ...["--replay", logs.decisions, "--timing-log", logs.timings, "--profile", profile, "--json"],
  );
  expect(replayed.exit).toBe(0);
  const report = JSON.parse(replayed.out);
  expect(report).toMatchObject({
    schema: "millrace.replay/1",
    requests: 12,
    steps: stats.steps,
    difference: null,
    timing: { steps: stats.steps, measuredSeconds: expect.any(Number) },
  });

  const told = await millrace(
    "simulate",
    ...["--replay", logs.decisions, "--timing-log", logs.timings, "--profile", profile],
  );
  expect(told.out).toContain("of the time");
  const [all] = report.timing.residuals;
  expect(all).toMatchObject({ by: "all", share: 1 });
  // Also those after a pause, and the first.
  expect(all.steps).toBe(stats.steps);

  const lines = readFileSync(logs.decisions, "utf8").split("\n");
  const at = lines.findIndex((line) => line.includes('"ticket":3,"digest"'));
  lines[at] = '{"kind":"plan","ticket":3,"digest":"0000000000000000"}';
  const changed = join(folder, "changed.jsonl");
  writeFileSync(changed, lines.join("\n"));
  const other = await millrace("simulate", "--replay", changed);
  expect(other.exit).toBe(3);
  expect(other.out).toContain("step 3 of sarathi-serve differs");

  // A killed engine leaves its log anywhere; what is there is decided alike.
  const text = readFileSync(logs.decisions, "utf8");
  const ofReplay = async (log: string) => {
    writeFileSync(changed, log);
    return millrace("simulate", "--replay", changed, "--json");
  };
  for (const share of [0.3, 0.5, 0.71, 0.9]) {
    const cut = await ofReplay(text.slice(0, Math.floor(share * text.length)));
    expect(cut.exit).toBe(0);
    expect(JSON.parse(cut.out).difference).toBeNull();
  }
  // A log with a hole, with foreign lines, with a head that no engine has.
  const head = lines[0] as string;
  for (const [log, said] of [
    [[...lines.slice(0, 20), ...lines.slice(30)].join("\n"), "contradicts itself"],
    [[head, '{"x":1}', ...lines.slice(1)].join("\n"), "changed.jsonl:2 is of no kind"],
    [text.replace(/"tableCapacity":\d+/, '"tableCapacity":1e12'), "contradicts itself"],
    [text.replace(/"slots":\d+/, '"slots":-1'), "contradicts itself"],
  ] as const) {
    const refused = await ofReplay(log);
    expect(refused.err).toContain(said);
    expect(refused.exit).toBe(2);
  }
});

test.each([
  [["simulate", "--replay", "none.jsonl"], "FILE_UNREADABLE", "none.jsonl"],
  [["simulate", "--replay", "BAD"], "TRACE_INVALID", "bad.jsonl:1"],
  [["profile", "-m", "MODEL", "--executor", "libllama"], "USAGE", "libllama"],
])("%j is refused", async (argv, code, text) => {
  const bad = join(folder, "bad.jsonl");
  writeFileSync(bad, '{"kind":"plan"}\n');
  const given = argv.map((arg) => (arg === "BAD" ? bad : arg === "MODEL" ? model : arg));
  const { exit, err } = await millrace(...given);
  expect(exit).toBe(2);
  expect(err).toContain(`error[${code}]`);
  expect(err).toContain(text);
});
