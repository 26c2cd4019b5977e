/**
 * Chaos with a seed: a service with a byte cache and a store of the servers' cache, jobs in this process and in others,
 * and kill -9 at points that the seed draws: producers, jobs, the service itself, the store. What has to hold: every job
 * that is left sees every batch exactly once and equal to what a loader of its own makes; those that were ended had seen
 * a prefix of it; and after a restart nothing but the cache is left in shared memory.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Rng } from "@millrace/core";
import type { BatchSource, SourceState } from "@millrace/core/job";
import type { Batch } from "../batch/batch.ts";
import { DataLoader } from "../loader/loader.ts";
import { type StoreServer, startRedis } from "../peers/store-servers.conformance.ts";
import type { ImageTransformSpec } from "../prep/transform.ts";
import { openFolder } from "../source/folder.ts";
import { CoordinatedSource } from "./client.ts";
import { cleanRings } from "./ring.ts";
import type { ServiceOptions } from "./service-options.ts";
import { startService } from "./start-service.ts";

export type Victim = "producer" | "job" | "service" | "store";

export interface ChaosOptions {
  readonly seed: number;
  /** Images in folders per class. */
  readonly dataset: string;
  /** A folder of its own in shared memory. */
  readonly shared: string;
  readonly epochs: number;
  readonly events: number;
  /** Without it stores are left out. */
  readonly redis: boolean;
  /** One job more, in Python. */
  readonly numpy: boolean;
}

export interface ChaosOutcome {
  /** What was ended, and after how many batches of the first job. */
  readonly ended: readonly { readonly what: Victim; readonly at: number }[];
  readonly batches: number;
  /** Violations, in words; empty when all held. */
  readonly wrong: readonly string[];
}

const batchSize = 4;
const transform: ImageTransformSpec = {
  kind: "image",
  size: 16,
  mode: "train",
  type: "u8",
  layout: "nchw",
};

export async function chaos(options: ChaosOptions): Promise<ChaosOutcome> {
  const { seed, dataset, epochs, redis } = options;
  const rng = new Rng(`chaos/${seed}`);
  const source = openFolder(dataset);
  const total = epochs * Math.ceil(source.length / batchSize);
  const at = { seed, epoch: 0, position: 0 };
  const reference = await alone(dataset, at, total);
  const run = new Run(options, redis ? await startRedis() : null, rng);
  const wrong: string[] = [];
  try {
    await run.serve();
    const { socket } = run;
    const steady = await Promise.all([0, 1].map(() => CoordinatedSource.join({ socket, at })));
    run.hire(at);
    const inPython = options.numpy ? pythonJob(socket, at, total) : null;
    const plan = drawPlan(rng, options, total);
    await Promise.all(
      steady.map(async (job, which) => {
        const seen: string[] = [];
        await use(job, total, seen, () => {
          const what = which === 0 ? plan.get(seen.length) : undefined;
          if (what !== undefined) run.end(what, seen.length, at);
        });
        const first = seen.findIndex((hash, i) => hash !== reference[i]);
        if (first >= 0) wrong.push(`job ${which} saw another batch ${first}`);
        await job[Symbol.asyncDispose]();
      }),
    );
    const seen = (await inPython) ?? reference;
    if (seen.join() !== reference.join())
      wrong.push(`the job in Python saw ${seen.slice(-3).join("; ")} at the end`);
    wrong.push(...(await run.judge(reference)));
  } finally {
    await run.close();
  }
  return { ended: run.ended, batches: total, wrong: [...wrong, ...(await leftovers(run))] };
}

/** Different numbers of batches, each with a victim. */
function drawPlan(rng: Rng, { events, redis }: ChaosOptions, total: number): Map<number, Victim> {
  const kinds: Victim[] = [
    "producer",
    "producer",
    "job",
    "service",
    ...(redis ? ["store" as const] : []),
  ];
  const plan = new Map<number, Victim>();
  while (plan.size < events)
    plan.set(rng.int(2, total - 4), kinds[rng.int(0, kinds.length - 1)] as Victim);
  return plan;
}

/** After a restart on the same socket and an orderly end: the cache, and nothing else. */
async function leftovers({ settings, options: { shared } }: Run): Promise<string[]> {
  const rings = readdirSync(shared).filter((name) => name.startsWith("ring-"));
  const again = await startService(settings);
  await again[Symbol.asyncDispose]();
  cleanRings(shared);
  const left = readdirSync(shared).filter((name) => name !== "cache");
  return [
    ...(rings.length > 1 ? [`${rings.length} rings were there after the service's end`] : []),
    ...(left.length > 0 ? [`shared memory holds ${left.join(", ")}`] : []),
  ];
}

/** The processes of one run. */
class Run {
  readonly ended: { what: Victim; at: number }[] = [];
  readonly socket: string;
  readonly settings: ServiceOptions;
  readonly options: ChaosOptions;
  private readonly rng: Rng;
  private store: StoreServer | null;
  private service: ChildProcess | null = null;
  private readonly workers: { readonly child: ChildProcess; readonly lines: string[] }[] = [];
  /** Restarts under way. */
  private readonly pending: Promise<void>[] = [];

  constructor(options: ChaosOptions, store: StoreServer | null, rng: Rng) {
    const { shared, dataset } = options;
    this.options = options;
    this.store = store;
    this.rng = rng;
    this.socket = join(shared, "socket");
    this.settings = {
      source: { path: dataset },
      transform,
      batchSize,
      producers: 2,
      stagingBytes: 2 ** 16,
      socket: this.socket,
      sharedFolder: shared,
      cacheBytes: 40_000,
      cacheFolder: join(shared, "cache"),
      ...(store && { peers: { members: [{ url: `redis://127.0.0.1:${store.port}` }] } }),
    };
  }

  async serve(): Promise<void> {
    const child = start("service-process", JSON.stringify(this.settings));
    this.service = child;
    await once(child.stdout as NodeJS.ReadableStream, "data");
  }

  /** A job in a process of its own, which uses batches until it is ended. */
  hire(at: SourceState): void {
    const child = start("job-process", this.socket, JSON.stringify(at), "100000");
    const lines: string[] = [];
    let rest = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop() as string;
      lines.push(...parts);
    });
    this.workers.push({ child, lines });
  }

  end(what: Victim, at: number, from: SourceState): void {
    this.ended.push({ what, at });
    if (what === "job") {
      this.workers.at(-1)?.child.kill("SIGKILL");
      this.hire(from);
    } else if (what === "producer") {
      const all = childrenOf(this.service?.pid ?? -1);
      const one = all[this.rng.int(0, Math.max(0, all.length - 1))];
      if (one !== undefined) process.kill(one, "SIGKILL");
    } else if (what === "store") this.pending.push(this.restartStore());
    else this.pending.push(this.restartService());
  }

  private async restartService(): Promise<void> {
    // One that is still starting is waited for: two would be started otherwise.
    await Promise.all(this.pending);
    const old = this.service as ChildProcess;
    await ended(old);
    await this.serve();
  }

  private async restartStore(): Promise<void> {
    await Promise.all(this.pending);
    if (this.store === null) return;
    const { port } = this.store;
    await this.store.kill();
    this.store = await startRedis([], false, port);
  }

  /** What the ended jobs saw is a prefix of the sequence. */
  async judge(reference: readonly string[]): Promise<string[]> {
    await Promise.all(this.pending);
    const wrong: string[] = [];
    for (const [i, { child, lines }] of this.workers.entries()) {
      await ended(child);
      // They may have gone on beyond what is compared.
      const first = lines.findIndex((line, n) => n < reference.length && line !== reference[n]);
      if (first >= 0) wrong.push(`ended job ${i} saw another batch ${first}`);
    }
    return wrong;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.pending);
    for (const { child } of this.workers) await ended(child);
    if (this.service !== null) {
      const producers = childrenOf(this.service.pid ?? -1);
      await ended(this.service);
      // They end with the channel; their locks are gone when they are.
      while (producers.some((pid) => parentOf(pid) >= 0)) await new Promise(setImmediate);
    }
    await this.store?.kill();
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** Uses `count` batches; `before` is called between taking one and giving it back. */
async function use(
  job: BatchSource<Batch>,
  count: number,
  seen: string[],
  before: () => void = () => {},
): Promise<void> {
  while (seen.length < count) {
    const loan = await job.next();
    if (loan === null) continue;
    const { data, labels, items, epoch, position } = loan.batch;
    const hash = createHash("sha1");
    for (const part of [data, labels, items])
      hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    seen.push(`${epoch} ${position} ${hash.digest("hex")}`);
    before();
    loan.release();
  }
}

/** What a loader of one's own makes. */
async function alone(path: string, at: SourceState, count: number): Promise<string[]> {
  const source = openFolder(path);
  await using loader = new DataLoader({
    source,
    transform,
    batchSize,
    workers: 1,
    badSamples: "replace",
  });
  loader.seek(at);
  const seen: string[] = [];
  await use(loader, count, seen);
  return seen;
}

const program = `
import hashlib, json, sys, time
import millrace_loader as m
def join():
    while True:
        # The service may be gone before it was ever seen.
        try: return m.Batches(sys.argv[1], state=json.loads(sys.argv[2]), copy=False)
        except m.ServiceError: time.sleep(0.02)
left = int(sys.argv[3])
batches = join()
while left:
    for batch in batches:
        h = hashlib.sha1()
        for a in (batch.data, batch.labels, batch.items): h.update(a.tobytes())
        print(batch.epoch, batch.position, h.hexdigest())
        batch.release()
        left -= 1
        if not left: break
`;

/** What a job in Python sees that nobody ends; its last words when it ends with an error. */
async function pythonJob(socket: string, at: SourceState, count: number): Promise<string[]> {
  const child = spawn(
    "/usr/bin/python3",
    ["-c", program, socket, JSON.stringify(at), String(count)],
    {
      env: { ...process.env, PYTHONPATH: fileURLToPath(new URL("../../python", import.meta.url)) },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const said = ["", ""];
  child.stdout.on("data", (chunk) => (said[0] += chunk));
  child.stderr.on("data", (chunk) => (said[1] += chunk));
  const [code] = await once(child, "close");
  return (said[code === 0 ? 0 : 1] as string).trim().split("\n");
}

const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

function start(name: string, ...args: string[]): ChildProcess {
  const file = fileURLToPath(new URL(`./${name}.conformance.ts`, import.meta.url));
  return spawn(process.execPath, ["--conditions=millrace:source", "--import", tsx, file, ...args], {
    // A job that finds the service gone when it wants to join ends with an error, which is none here.
    stdio: ["ignore", "pipe", name === "job-process" ? "ignore" : "inherit"],
  });
}

function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid);
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return -1;
  }
}
