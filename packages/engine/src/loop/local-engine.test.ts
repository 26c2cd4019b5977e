import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { type SchedulerName, schedulers } from "@millrace/serving";
import { describe, expect, it } from "vitest";
import type { GenerateEvent, GenerateRequest, StepTiming } from "../contracts.ts";
import { defaultSampling } from "../sampling/index.ts";
import type { GrammarState } from "./generation.ts";
import { collect, make, never, request, turning } from "./small-engine.conformance.ts";

describe("LocalEngine", () => {
  it("gives 200 requests at once the tokens each gets alone, admits once and leaks nothing", async () => {
    const { engine, leaks } = make();
    const jobs = Array.from({ length: 200 }, (_, i) => request(1 + (i % 37), 1 + ((i * 7) % 20)));
    const together = await Promise.all(jobs.map((job) => collect(engine.generate(job, never))));
    for (const [i, result] of together.entries()) {
      expect(result.end).toBe("length");
      expect(result.tokens.length).toBe(jobs[i].maxTokens);
      expect(result.all.map((e) => e.type)).toEqual([
        "admitted",
        ...result.tokens.map(() => "tokens"),
        "finish",
      ]);
    }
    for (const i of [0, 36, 111])
      expect((await collect(engine.generate(jobs[i], never))).tokens).toEqual(together[i].tokens);
    const stats = await engine.stats();
    expect(stats).toMatchObject({ waiting: 0, running: 0, kvGroupsUsed: 0, kvGroups: 400 });
    expect(stats.generatedTokens).toBeGreaterThan(1000);
    expect(leaks()).toEqual([0, 0]);
    await engine.close();
  });

  it.each(Object.keys(schedulers) as SchedulerName[])(
    "%s: preemption in tight memory changes no token",
    async (type) => {
      const jobs = [request(20, 30), request(3, 60), request(31, 25), request(9, 50)];
      const run = async (groups: number) => {
        const { engine, leaks } = make({ type, groups });
        const results = await Promise.all(jobs.map((j) => collect(engine.generate(j, never))));
        const { preemptions } = await engine.stats();
        expect(leaks()).toEqual([0, 0]);
        await engine.close();
        return { tokens: results.map((r) => r.tokens), preemptions };
      };
      const roomy = await run(400);
      const tight = await run(26);
      expect(tight.tokens).toEqual(roomy.tokens);
      expect(roomy.preemptions).toBe(0);
      if (type === "sarathi-serve") expect(tight.preemptions).toBeGreaterThan(0);
    },
  );

  it("cancels at every stage within one step", async () => {
    const { engine, leaks } = make({ slots: 2 });
    const busy = [collect(engine.generate(request(5, 100), never))];
    busy.push(collect(engine.generate(request(6, 100), never)));
    const before = new AbortController();
    before.abort();
    expect((await collect(engine.generate(request(4, 5), before.signal))).end).toBe("cancelled");
    const waiting = new AbortController();
    const queued = collect(engine.generate(request(4, 5), waiting.signal));
    await turn();
    waiting.abort();
    expect((await queued).end).toBe("cancelled");
    await Promise.all(busy);
    // While prefill chunks run, and after the n-th token; by the signal and by leaving the loop.
    const prefill = new AbortController();
    const long = collect(engine.generate(request(150, 5), prefill.signal));
    await turn();
    prefill.abort();
    expect(await long).toMatchObject({ tokens: [], end: "cancelled" });
    for (const n of [1, 2, 7]) {
      let seen = 0;
      for await (const event of engine.generate(request(5, 200), never)) {
        if (event.type === "tokens" && ++seen === n) break;
      }
      const abort = new AbortController();
      const got: GenerateEvent[] = [];
      for await (const event of engine.generate(request(5, 200), abort.signal)) {
        got.push(event);
        if (got.filter((e) => e.type === "tokens").length === n) abort.abort();
      }
      expect(got.filter((e) => e.type === "tokens").length).toBe(n);
      expect(got.at(-1)).toMatchObject({ type: "finish", reason: "cancelled" });
    }
    await engine.drain(600);
    expect(leaks()).toEqual([0, 0]);
    await engine.close();
  });

  it("ends at deadlines, waiting or running", async () => {
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { engine, leaks } = make({ slots: 1, executor: turning(1, () => gate) });
    const running = collect(engine.generate(request(3, 50, { deadlineSeconds: 0.01 }), never));
    const queued = collect(engine.generate(request(3, 50, { deadlineSeconds: 0.01 }), never));
    expect([(await running).end, (await queued).end]).toEqual(["deadline", "deadline"]);
    open();
    await engine.drain(600);
    expect(leaks()).toEqual([0, 0]);
    await engine.close();
  });

  it("refuses what is too long, too many, malformed or after its end", async () => {
    const { engine } = make({ slots: 1, maxWaiting: 2 });
    expect(engine.card.contextTokens).toBe(256);
    expect((await collect(engine.generate(request(200, 57), never))).end).toBe("too-long");
    expect((await collect(engine.generate(request(2, 1e12), never))).end).toBe("too-long");
    expect(() => engine.generate(request(0, 5), never)).toThrow("no tokens");
    expect(() => engine.generate(request(1, 5, { prompt: Int32Array.of(50) }), never)).toThrow(
      "prompt token 50",
    );
    expect(
      (await collect(engine.generate(request(1, 1, { grammar: "root ::= x" }), never))).end,
    ).toBe("grammar");
    const five = await Promise.all(
      [1, 2, 3, 4, 5].map((n) => collect(engine.generate(request(n, 9), never))),
    );
    expect(five.map((r) => r.end)).toEqual([
      "length",
      "length",
      "queue-full",
      "queue-full",
      "queue-full",
    ]);
    expect(five[4].all[0]).toMatchObject({ retryAfterSeconds: expect.any(Number) });
    await expect(engine.embed([Int32Array.of(1)], never)).rejects.toMatchObject({
      code: "EMBEDDINGS_UNSUPPORTED",
    });
    await engine.drain(0);
    expect(engine.ready).toBe(false);
    expect((await collect(engine.generate(request(1, 1), never))).end).toBe("unavailable");
    await engine.close();
  });

  it("serves the urgent first", async () => {
    const { engine } = make({ slots: 1 });
    const order: string[] = [];
    const run = async (name: string, priority: number) => {
      await collect(engine.generate(request(5, 5, { priority }), never));
      order.push(name);
    };
    await Promise.all([run("b", 1), run("c", 2), run("a", 0)]);
    expect(order).toEqual(["a", "b", "c"]);
    await engine.close();
  });

  it("applies stop texts, stop tokens, minTokens, bans and logprobs", async () => {
    const { engine } = make();
    const free = await collect(engine.generate(request(8, 40), never));
    const stop = free.text.slice(5, 8);
    const at = free.text.indexOf(stop);
    const stopped = await collect(engine.generate(request(8, 40, { stop: [stop] }), never));
    expect(stopped).toMatchObject({ end: "stop", text: free.text.slice(0, at) });
    expect(stopped.all.at(-1)).toMatchObject({ matched: stop, completionTokens: at + 3 });
    const token = free.tokens[3];
    const byToken = await collect(engine.generate(request(8, 40, { stopTokens: [token] }), never));
    expect(byToken.tokens).toEqual(free.tokens.slice(0, free.tokens.indexOf(token) + 1));
    const later = await collect(
      engine.generate(request(8, 40, { stopTokens: [token], minTokens: 20 }), never),
    );
    expect(later.tokens.slice(0, 19)).not.toContain(token);
    expect(later.tokens.length).toBeGreaterThanOrEqual(20);
    expect(free.tokens).not.toContain(49);
    const ended = await collect(
      engine.generate(
        request(8, 40, {
          ignoreEos: false,
          sampling: { ...defaultSampling, logitBias: new Map([[49, 100]]), logprobs: 2 },
        }),
        never,
      ),
    );
    expect(ended).toMatchObject({ tokens: [49], text: "", end: "stop" });
    const first = ended.all.find((e) => e.type === "tokens");
    expect(first?.type === "tokens" && first.logprobs[0]?.top.length).toBe(2);
    await engine.close();
  });

  it("emits forced tokens with their logprobs and goes on as if they had been drawn", async () => {
    const { engine, leaks } = make();
    const penalised = { ...defaultSampling, seed: 3, repetitionPenalty: 1.3, logprobs: 0 };
    const free = await collect(engine.generate(request(8, 40, { sampling: penalised }), never));
    const whole = request(8, 0).prompt;
    for (const cut of [1, 8]) {
      // The end token among the forced ones ends nothing, nor does a stop text.
      const forced = Int32Array.from([...whole.slice(cut), ...(cut === 8 ? [49] : [])]);
      const run = await collect(
        engine.generate(
          request(8, forced.length + 40, {
            prompt: whole.slice(0, cut),
            forced,
            sampling: penalised,
            ignoreEos: cut === 1,
            stop: cut === 1 ? [] : ["x"],
          }),
          never,
        ),
      );
      expect(run.tokens.slice(0, forced.length)).toEqual([...forced]);
      const logprobs = run.all.flatMap((e) => (e.type === "tokens" ? e.logprobs : []));
      expect(logprobs.every((one) => one.logprob < 0)).toBe(true);
      expect(logprobs).toHaveLength(run.tokens.length);
      if (cut === 1) expect(run.tokens.slice(forced.length)).toEqual(free.tokens);
    }
    const tooMany = request(8, 1, { forced: Int32Array.of(1, 2) });
    expect(() => engine.generate(tooMany, never)).toThrow("2 tokens are forced");
    expect(leaks()).toEqual([0, 0]);
    await engine.close();
  });

  it("keeps to a grammar and gives its state back, whatever becomes of the request", async () => {
    let live = 0;
    const alternating = (gbnf: string): GrammarState => {
      if (gbnf !== "ab") throw new Error("expected ab");
      live++;
      let next = 0;
      return {
        allows: (token) => token === next,
        mask: (logits) => {
          for (let i = 0; i < logits.length; i++) if (i !== next) logits[i] = -Infinity;
        },
        accept: () => {
          next = 1 - next;
        },
        [Symbol.dispose]: () => void live--,
      };
    };
    const { engine } = make({ grammar: alternating });
    const run = (more: Partial<GenerateRequest>, signal = never) =>
      collect(engine.generate(request(4, 6, { grammar: "ab", ...more }), signal));
    expect((await run({})).text).toBe("ababab");
    // The one token that the grammar allows is ruled out by its bias.
    expect(
      (await run({ sampling: { ...defaultSampling, logitBias: new Map([[0, -Infinity]]) } })).end,
    ).toBe("internal");
    expect((await run({ grammar: "(" })).all).toEqual([
      { type: "error", kind: "grammar", message: "expected ab" },
    ]);
    expect((await run({ maxTokens: 1000 })).end).toBe("too-long");
    expect(() => engine.generate(request(1, 1, { grammar: "ab", stop: [""] }), never)).toThrow();
    expect((await run({}, AbortSignal.abort())).end).toBe("cancelled");
    await engine.close();
    expect(live).toBe(0);
  });

  it("drains: running requests end, late ones are cancelled", async () => {
    const { engine, leaks } = make();
    const short = collect(engine.generate(request(3, 5), never));
    await engine.drain(600);
    expect((await short).end).toBe("length");
    const other = make();
    const long = collect(other.engine.generate(request(3, 200), never));
    await other.engine.drain(0);
    expect((await long).end).toBe("cancelled");
    expect([leaks(), other.leaks()]).toEqual([
      [0, 0],
      [0, 0],
    ]);
    await Promise.all([engine.close(), other.engine.close()]);
  });

  it("switches schedulers without changing tokens and logs steps and decisions", async () => {
    const dir = mkdtempSync(join(tmpdir(), "loop-"));
    try {
      const logs = { decisions: join(dir, "d/decisions.ndjson"), timings: join(dir, "t.ndjson") };
      const { engine, leaks } = make({ logs });
      const steps: StepTiming[] = [];
      const leave = engine.onStep((step) => steps.push(step));
      const first = await collect(engine.generate(request(50, 10), never));
      await expect(engine.switchScheduler("orcs", {})).rejects.toThrow('no scheduler "orcs"');
      await expect(engine.switchScheduler("orca", { chunkSize: 0 })).rejects.toThrow("chunkSize");
      await expect(engine.switchScheduler("orca", { chunkSise: 1 })).rejects.toMatchObject({
        hint: "did you mean chunkSize?",
      });
      const running = collect(engine.generate(request(50, 10), never));
      const switched = engine.switchScheduler("vllm-v1", { chunkSize: 16 });
      expect((await collect(engine.generate(request(1, 1), never))).end).toBe("unavailable");
      await switched;
      expect((await running).tokens).toEqual(first.tokens);
      expect((await engine.stats()).scheduler).toBe("vllm-v1");
      expect((await collect(engine.generate(request(50, 10), never))).tokens).toEqual(first.tokens);
      leave();
      expect(leaks()).toEqual([0, 0]);
      await engine.close();
      const lines = (path: string) =>
        readFileSync(path, "utf8")
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line));
      expect(lines(logs.timings)).toEqual(steps);
      expect(steps.reduce((n, s) => n + s.prefillTokens, 0)).toBe(150);
      const kinds = lines(logs.decisions).map((e) => e.kind);
      expect(kinds.filter((k) => k === "scheduler").length).toBe(2);
      expect(kinds.filter((k) => k === "outcome").length).toBe(steps.length);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it("fails everything retryably when a step fails", async () => {
    let left = 3;
    const fatal: string[] = [];
    const executor = turning(1, async () => {
      if (left-- === 0) throw new Error("the device is lost");
    });
    const { engine, leaks } = make({
      slots: 1,
      executor,
      hooks: { onFatal: (message) => fatal.push(message) },
    });
    const results = await Promise.all(
      [3, 4].map((n) => collect(engine.generate(request(n, 20), never))),
    );
    expect(results.map((r) => [r.end, r.tokens.length])).toEqual([
      ["crashed", 3],
      ["crashed", 0],
    ]);
    expect([engine.ready, fatal, leaks()]).toEqual([false, ["the device is lost"], [0, 0]]);
    expect((await collect(engine.generate(request(1, 1), never))).end).toBe("crashed");
    await engine.close();
  });

  it("ends itself when a step hangs", async () => {
    const hung = new Promise<void>(() => {});
    let message = "";
    const { engine } = make({
      stepTimeoutSeconds: 0.02,
      executor: turning(16, () => hung),
      hooks: {
        onFatal: (m) => {
          message = m;
        },
      },
    });
    const keepAlive = setInterval(() => {}, 10);
    const result = await collect(engine.generate(request(3, 20), never));
    clearInterval(keepAlive);
    expect(result.end).toBe("crashed");
    expect(message).toContain("did not end within 0.02 s");
    await engine.close();
  });
});
