import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import type { GenerateEvent, GenerateRequest } from "../contracts.ts";
import { EventQueue } from "./event-queue.ts";
import {
  DIE,
  ENDLESS,
  FATAL,
  REFUSED,
  scriptedOptions,
  THROW,
} from "./scripted-engine.conformance.ts";
import { type SupervisedEngine, startEngine } from "./supervised-engine.ts";

const module = new URL("./scripted-engine.conformance.ts", import.meta.url);
const open: SupervisedEngine[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((engine) => engine.close()));
});

async function start(onEvent: (event: string, detail: string) => void = () => {}) {
  const engine = await startEngine(scriptedOptions, { module, onEvent });
  open.push(engine);
  return engine;
}

function request(prompt: readonly number[], maxTokens: number): GenerateRequest {
  return {
    id: "r",
    prompt: Int32Array.from(prompt),
    maxTokens,
    sampling: {
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: new Map([[3, -100]]),
      seed: 1,
      logprobs: -1,
    },
    stop: [],
    stopTokens: [],
    ignoreEos: false,
    minTokens: 0,
    grammar: null,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
  };
}

async function all(events: AsyncIterable<GenerateEvent>): Promise<GenerateEvent[]> {
  const seen: GenerateEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

const signal = () => new AbortController().signal;

/** Resolves with the detail of the next event of that kind. */
function eventsOf(): {
  readonly on: (event: string, detail: string) => void;
  readonly next: (event: string) => Promise<string>;
} {
  const target = new EventTarget();
  return {
    on: (event, detail) => target.dispatchEvent(new CustomEvent(event, { detail })),
    next: async (event) => ((await once(target, event)) as [CustomEvent<string>])[0].detail,
  };
}

test("requests, calls and steps cross the border", async () => {
  const engine = await start();
  expect(engine.ready).toBe(true);
  expect(engine.card.name).toBe("scripted");
  let steps = 0;
  engine.onStep(() => steps++);
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => all(engine.generate(request([i, i + 1], 20), signal()))),
  );
  answers.forEach((events, i) => {
    expect(events[0]).toEqual({ type: "admitted", cachedTokens: 0 });
    const tokens = events.flatMap((e) => (e.type === "tokens" ? [...e.tokens] : []));
    expect(tokens).toEqual(Array.from({ length: 20 }, (_, k) => i + (k % 2)));
    expect(events.at(-1)).toMatchObject({ type: "finish", reason: "length", promptTokens: 2 });
  });
  const special = { addSpecial: false, parseSpecial: false };
  const tokens = await engine.tokenize("día", special);
  expect(tokens).toEqual(Int32Array.from([100, 237, 97]));
  expect(await engine.detokenize(tokens)).toBe("día");
  expect((await engine.pieces(tokens)).map((bytes) => [...bytes])).toEqual([
    [100],
    [0xc3, 0xad],
    [97],
  ]);
  expect((await engine.stats()).steps).toBe(1000);
  expect(steps).toBe(1000);
});

test("errors keep code and hint; a failing request leaves the engine alive", async () => {
  const engine = await start();
  await expect(engine.embed([Int32Array.of(1)], signal())).rejects.toMatchObject({
    code: "EMBEDDINGS_UNSUPPORTED",
  });
  expect(await all(engine.generate(request([THROW], 1), signal()))).toEqual([
    { type: "error", kind: "internal", message: "Error: scripted failure" },
  ]);
  expect(await all(engine.generate(request([REFUSED], 1), signal()))).toEqual([
    { type: "error", kind: "invalid", message: "scripted refuses; ask another" },
  ]);
  expect(await all(engine.generate(request([5], 1), signal()))).toHaveLength(3);
});

test("an embedding that nobody waits for is cancelled in the engine", async () => {
  const engine = await start();
  const controller = new AbortController();
  const waiting = engine.embed([Int32Array.of(REFUSED)], controller.signal);
  await engine.stats();
  controller.abort(new Error("left"));
  await expect(waiting).rejects.toThrow("left");
  expect((await engine.stats()).preemptions).toBe(1);
});

test("an engine that refuses its options rejects the start, with its own error", async () => {
  const options = { ...scriptedOptions, modelPath: "/missing.gguf" };
  await expect(startEngine(options, { module })).rejects.toMatchObject({
    code: "FILE_UNREADABLE",
    message: "/missing.gguf does not exist",
    hint: "name a GGUF file",
  });
});

test("aborting or leaving a request cancels it in the engine", async () => {
  const engine = await start();
  const controller = new AbortController();
  const abandoned = all(engine.generate(request([ENDLESS], 1), controller.signal));
  for await (const event of engine.generate(request([ENDLESS], 1), signal()))
    if (event.type === "tokens") break;
  controller.abort();
  // Cancellation is counted by the engine itself.
  await expect.poll(async () => (await engine.stats()).preemptions).toBe(2);
  await engine.close();
  expect((await abandoned).at(-1)).toMatchObject({ type: "error", kind: "crashed" });
});

test("a killed process fails what is open, retryably, and comes back", async () => {
  const { on, next } = eventsOf();
  const engine = await start(on);
  const ended = next("ended");
  const restarted = next("restarted");
  const open = [ENDLESS, ENDLESS, DIE].map((t) => all(engine.generate(request([t], 1), signal())));
  for (const events of await Promise.all(open))
    expect(events.at(-1)).toMatchObject({
      type: "error",
      kind: "crashed",
      message: expect.stringContaining("GGML_ASSERT(scripted) failed"),
      retryAfterSeconds: expect.any(Number),
    });
  expect(await ended).toContain("SIGKILL");
  expect(engine.ready).toBe(false);
  await expect(engine.tokenize("x", { addSpecial: true, parseSpecial: true })).rejects.toThrow(
    "the engine process ended",
  );
  await restarted;
  expect(engine.ready).toBe(true);
  expect(await all(engine.generate(request([5], 1), signal()))).toHaveLength(3);
  expect((await engine.stats()).restarts).toBe(1);
});

test("an engine that cannot go on says why before it ends", async () => {
  const { on, next } = eventsOf();
  const engine = await start(on);
  const ended = next("ended");
  const events = await all(engine.generate(request([FATAL, ENDLESS], 1 << 30), signal()));
  expect(events.at(-1)).toMatchObject({ kind: "crashed" });
  expect(await ended).toContain("step 7 did not end within 60 s");
});

test("a process that is started again has the scheduler that was switched to", async () => {
  const { on, next } = eventsOf();
  const engine = await start(on);
  await engine.switchScheduler("sarathi", { chunkSize: 32, timeoutSeconds: 1 });
  const restarted = next("restarted");
  await all(engine.generate(request([DIE], 1), signal()));
  await restarted;
  expect((await engine.stats()).scheduler).toBe("sarathi");
});

test("a process that dies while draining stays down, and the drain ends", async () => {
  const { on, next } = eventsOf();
  const engine = await start(on);
  const ended = next("ended");
  void all(engine.generate(request([DIE], 1), signal()));
  await engine.drain(5);
  await ended;
  expect(engine.ready).toBe(false);
  await engine.close();
});

test("draining and closing take no new requests", async () => {
  const engine = await start();
  await engine.drain(1);
  expect(engine.ready).toBe(false);
  await engine.close();
  expect(await all(engine.generate(request([5], 1), signal()))).toMatchObject([
    { kind: "crashed" },
  ]);
});

test("a queue gives items in order, waits, and tells when its reader leaves", async () => {
  let left = 0;
  const queue = new EventQueue<number>(() => left++);
  queue.push(1);
  queue.push(2);
  expect([await queue.next(), await queue.next()].map((r) => r.value)).toEqual([1, 2]);
  const waiting = queue.next();
  queue.push(3);
  expect((await waiting).value).toBe(3);
  await queue.return();
  await queue.return();
  expect(left).toBe(1);
  queue.push(4);
  expect((await queue.next()).done).toBe(true);
});
