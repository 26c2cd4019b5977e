/** The search over Redis: the executor's suite, lost workers, lost servers, and the same plan as without a queue. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Executor, type Job, MillraceError, type Outcome } from "@millrace/core";
import { connectQueue, type QueueExecutor, serveQueue } from "@millrace/sim/queue";
import { plan, type SearchJob, type SearchOutcome } from "@millrace/sim/search";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { executorConformance } from "../packages/core/src/executor.conformance.ts";
import type {
  ConformanceInput,
  ConformanceOutput,
} from "../packages/core/src/executor-task.conformance.ts";
import type { KillInput } from "../packages/core/src/node/pool-task.conformance.ts";
import { inline, smallPlan } from "../packages/sim/src/search/small-plan.conformance.ts";
import { freePort, type RedisServer, redisMissing, startRedis } from "./support/redis.ts";

const missing = redisMissing();
const task = new URL("../packages/core/src/executor-task.conformance.ts", import.meta.url);
const killTask = new URL("../packages/core/src/node/pool-task.conformance.ts", import.meta.url);

let redis: RedisServer;
let names = 0;
beforeAll(async () => {
  if (missing === null) redis = await startRedis();
});
afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
});

/** An executor and workers that serve its queue in this process, both gone at disposal. */
async function served<I, O>(module?: URL): Promise<Executor<I, O>> {
  const name = `test-${names++}`;
  const stop = new AbortController();
  const serving = serveQueue({
    url: redis.url,
    name,
    workers: 2,
    signal: stop.signal,
    ...(module === undefined ? {} : { module }),
  });
  const executor = await connectQueue<I, O>(redis.url, { name, parallel: 8 });
  return {
    workers: executor.workers,
    run: (jobs, signal) => executor.run(jobs, signal),
    [Symbol.asyncDispose]: async () => {
      await executor[Symbol.asyncDispose]();
      stop.abort();
      await serving;
    },
  };
}

async function collect<O>(outcomes: AsyncIterable<Outcome<O>>): Promise<Map<string, Outcome<O>>> {
  const found = new Map<string, Outcome<O>>();
  for await (const outcome of outcomes) found.set(outcome.id, outcome);
  return found;
}

test("an address without a server is an error within seconds", async () => {
  const url = `redis://127.0.0.1:${await freePort()}`;
  const failure = await connectQueue(url).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(MillraceError);
  expect(failure).toMatchObject({ code: "ENVIRONMENT_MISSING" });
  const signal = new AbortController().signal;
  await expect(serveQueue({ url, workers: 1, signal })).rejects.toMatchObject({
    code: "ENVIRONMENT_MISSING",
  });
});

describe.skipIf(missing !== null)(missing === null ? "with Redis" : `skipped: ${missing}`, () => {
  executorConformance("QueueExecutor", () => served<ConformanceInput, ConformanceOutput>(task));

  test("a plan over the queue is the plan of one thread", async () => {
    await using executor = await served<SearchJob, SearchOutcome>();
    const bytes = async (on: Executor<SearchJob, SearchOutcome>): Promise<string> => {
      const { elapsedMs: _, ...rest } = await plan(smallPlan, { executor: on });
      return JSON.stringify(rest);
    };
    expect(await bytes(executor)).toBe(await bytes(inline()));
  });

  test("jobs of a worker process that is killed are done by another", async () => {
    const folder = mkdtempSync(join(tmpdir(), "millrace-queue-"));
    const log = join(folder, "log");
    const name = `test-${names++}`;
    const workers = [startWorker(name)];
    const executor: QueueExecutor<KillInput, number> = await connectQueue(redis.url, { name });
    const stop = new AbortController();
    try {
      // Hangs whoever begins it, and says so in the log: the second line is the second attempt.
      const slow: Job<KillInput> = { id: "slow", input: { kind: "hang", log } };
      const quick = Array.from(
        { length: 5 },
        (_, i): Job<KillInput> => ({ id: `p${i}`, input: { kind: "pid" } }),
      );
      const found = new Set<string>();
      const run = (async () => {
        for await (const { id } of executor.run([slow, ...quick], stop.signal)) found.add(id);
      })();
      await until(() => attempts(log) === 1);
      workers[0]?.kill("SIGKILL");
      // The lost job hangs one of them, the other does the rest.
      workers.push(startWorker(name), startWorker(name));
      await until(() => attempts(log) === 2 && found.size === 5);
      stop.abort();
      await run;
      expect([...found].sort()).toEqual(["p0", "p1", "p2", "p3", "p4"]);
    } finally {
      for (const worker of workers) worker.kill("SIGKILL");
      await executor[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("without any worker a run fails instead of waiting for ever", async () => {
    await using executor: QueueExecutor<number, number> = await connectQueue(redis.url, {
      name: `test-${names++}`,
      patienceSeconds: 1,
    });
    await expect(collect(executor.run([{ id: "a", input: 1 }]))).rejects.toMatchObject({
      code: "ENVIRONMENT_MISSING",
      message: expect.stringContaining("no worker serves the queue"),
    });
  });

  test("a server that vanishes ends the run with an error", async () => {
    const own = await startRedis();
    await using executor: QueueExecutor<number, number> = await connectQueue(own.url);
    const run = collect(executor.run([{ id: "a", input: 1 }]));
    await own[Symbol.asyncDispose]();
    await expect(run).rejects.toMatchObject({ code: "ENVIRONMENT_MISSING" });
  });
});

function startWorker(name: string) {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const program = fileURLToPath(new URL("./support/queue-worker.ts", import.meta.url));
  return spawn(
    process.execPath,
    ["--conditions=millrace:source", "--import", tsx, program, redis.url, name, killTask.href],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
}

function attempts(log: string): number {
  return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").length : 0;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}
