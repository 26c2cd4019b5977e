/**
 * `millrace cluster run --on kubernetes`, the real program, against the API server in the repository with pods that are real
 * processes: held, placed, resized in place, preempted through the lease, over a scheduler that is killed and a node that is
 * lost, to the end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type JournalEvent, runFiles } from "@millrace/cluster/run";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FakeCluster } from "../packages/cluster/src/runners/kubernetes/fake/cluster.conformance.ts";

const path = (name: string) => fileURLToPath(new URL(`../packages/${name}`, import.meta.url));
const node = [
  process.execPath,
  "--conditions=millrace:source",
  "--import",
  pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href,
];

let cluster: FakeCluster;
const started: ChildProcess[] = [];
beforeAll(async () => {
  cluster = await FakeCluster.start();
  for (const name of ["gpu-1", "gpu-2"])
    cluster.addNode(name, { gpus: 4, cpus: 8, memory: "16Gi" });
});
afterAll(async () => {
  for (const child of started) child.kill("SIGKILL");
  await cluster[Symbol.asyncDispose]();
});

/** `millrace cluster …` as a process of its own. */
function millrace(...argv: readonly string[]): ChildProcess {
  const [program = "", ...flags] = node;
  const child = spawn(program, [...flags, path("cli/src/main.ts"), "cluster", ...argv], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
  });
  started.push(child);
  return child;
}

/** The curve of a job that gains from every core up to 8. */
const hungry = {
  schema: "millrace.job-profile/1",
  name: "hungry",
  units: {
    cpus: "CPUs per GPU",
    cacheBytes: "bytes per GPU",
    samplesPerSecond: "samples/s per GPU",
  },
  gpus: 1,
  cpus: [1, 2, 4, 8],
  cacheBytes: [0],
  samplesPerSecond: [[10], [20], [40], [60]],
  source: "modelled",
  policy: "minio",
  machine: { cpu: "any", cores: 8, hostMemoryBytes: 16e9, storage: "any", accelerator: "any" },
  date: "2026-11-28T00:00:00Z",
  hostBytes: 1e9,
};

test("jobs are held, placed, resized, preempted and found again, over a killed scheduler and a lost node", async () => {
  const { folder } = cluster;
  const state = join(folder, "state");
  mkdirSync(join(folder, "profiles"));
  writeFileSync(join(folder, "profiles/hungry.json"), JSON.stringify(hungry));
  const release = join(folder, "release");
  const image = "registry.example/train:1";
  const trainer = [...node, path("cluster/src/run/trainer.conformance.ts")];
  const jobs = [
    {
      id: "long",
      command: [...trainer, join(folder, "saved"), "900", "20"],
      gpus: 4,
      samples: 900,
      preemptible: true,
      restartCost: 0,
    },
    {
      id: "grows",
      model: "hungry",
      command: ["sh", "-c", `while [ ! -e ${release} ]; do sleep 0.05; done`],
      samples: 1e6,
      grace: 1,
    },
    { id: "peer", command: ["sleep", "0.5"], gpus: 3, duration: "1s", arrive: "2s" },
    { id: "short", command: ["true"], gpus: 4, duration: "1s", arrive: "4s" },
    { id: "wide", command: ["true"], gpus: 8 },
  ].map((job) => ({ ...job, image }));
  const terms = { allocator: "tune", round: "1s", lostAfter: 0, namespace: "training" };
  const file = join(folder, "jobs.yaml");
  writeFileSync(file, JSON.stringify({ cluster: terms, profiles: "profiles", jobs }));

  const schedule = () => millrace("run", "--on", "kubernetes", file, "--state", state, "--json");
  const events = (): readonly JournalEvent[] => {
    const { journal } = runFiles(state);
    if (!existsSync(journal)) return [];
    const lines = readFileSync(journal, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as JournalEvent);
  };
  const of = (id: string, kind: JournalEvent["kind"]) =>
    events().filter((event) => event.kind === kind && "id" in event && event.id === id);
  const until = (what: string, holds: () => boolean) =>
    expect.poll(holds, { timeout: 30_000, interval: 20, message: what }).toBe(true);
  /** Pods of a job that have not ended. */
  const pods = (id: string) =>
    cluster.store
      .list("pods")
      .filter(
        ({ metadata, status }) =>
          metadata.labels?.["millrace.dev/job"] === id && status.phase === "Running",
      );
  const cpusOf = (id: string) => pods(id)[0]?.spec.containers[0].resources.limits.cpu;

  const first = schedule();
  let said = "";
  first.stderr?.on("data", (text: Buffer) => {
    said += text;
  });
  await until("the long job saves", () => {
    expect(first.exitCode, said).toBe(null);
    return of("long", "checkpointed").length > 0;
  });
  // Alone on its node the hungry job has all its cores.
  await until("the hungry job runs", () => cpusOf("grows") === "8000m");
  const pod = pods("grows")[0]?.metadata.uid;
  await until("it makes room in place", () => cpusOf("grows") === "2000m");
  await until("it grows again", () => cpusOf("grows") === "8000m");
  expect(pods("grows")[0]?.metadata.uid).toBe(pod);
  await until("the short job is ordered", () => of("short", "ordered").length > 0);
  const gone = once(first, "exit");
  first.kill("SIGKILL");
  await gone;

  const second = schedule();
  let out = "";
  let err = "";
  second.stdout?.on("data", (text: Buffer) => {
    out += text;
  });
  second.stderr?.on("data", (text: Buffer) => {
    err += text;
  });
  const ended = once(second, "exit");
  const again = () => of("long", "ordered").length === 2 && of("long", "checkpointed").length > 0;
  await until("the long job goes on", again);
  const before = of("long", "checkpointed").length;
  await until("it saves again", () => of("long", "checkpointed").length > before);
  const lost = pods("long")[0]?.spec.nodeName as string;
  cluster.loseNode(lost);
  writeFileSync(release, "");
  // A job larger than a node is refused by name, so the run is not clean.
  expect(await ended, err).toEqual([1, null]);

  const { jobs: last } = JSON.parse(out) as {
    jobs: { id: string; state: string; reason: string }[];
  };
  expect(Object.fromEntries(last.map((job) => [job.id, job.state]))).toEqual({
    long: "done",
    grows: "done",
    peer: "done",
    short: "done",
    wide: "rejected",
  });
  expect(last.find(({ id }) => id === "wide")?.reason).toMatch(/under Slurm jobs may span/);
  const ends = of("long", "ended").map((event) => event.kind === "ended" && event.as);
  expect(ends).toEqual(["stopped", "lost", "complete"]);
  expect(["long", "grows", "peer", "short"].map((id) => cluster.starts(id))).toEqual([3, 1, 1, 1]);
  expect(readFileSync(join(folder, "saved"), "utf8")).toBe("900");
  // Asked, saved once more, ended: and only then the short one was ordered.
  const told = events().map((event) => `${"id" in event ? event.id : ""} ${event.kind}`);
  const asked = told.indexOf("long asked");
  const stopped = told.indexOf("long ended");
  expect(told.slice(asked, stopped)).toContain("long checkpointed");
  expect(told.indexOf("short ordered")).toBeGreaterThan(stopped);
  // Deleted, all of them; what waits for the lost node to say that its pod is gone goes when that comes back.
  const left = cluster.store
    .list("jobs")
    .filter((job) => job.metadata.deletionTimestamp === undefined);
  expect(left).toEqual([]);
}, 120_000);

test("a job is cancelled on Kubernetes without a scheduler", async () => {
  const { folder } = cluster;
  const state = join(folder, "state");
  const file = join(folder, "idle.json");
  const terms = { round: "1s", lostAfter: 0, namespace: "training" };
  const image = "registry.example/train:1";
  const jobs = [{ id: "idle", command: ["sleep", "1000"], image, grace: 1 }];
  writeFileSync(file, JSON.stringify({ cluster: terms, jobs }));
  const scheduler = millrace("run", "--on", "kubernetes", file, "--state", state, "--json");
  const gone = once(scheduler, "exit");
  const idle = () =>
    cluster.store
      .list("pods")
      .filter(({ metadata }) => metadata.labels?.["millrace.dev/job"] === "idle");
  await expect
    .poll(() => idle().map(({ status }) => status.phase), { timeout: 30_000 })
    .toEqual(["Running"]);
  scheduler.kill("SIGKILL");
  await gone;
  const cancel = millrace("cancel", "idle", "--state", state, "--json");
  let out = "";
  cancel.stdout?.on("data", (text: Buffer) => {
    out += text;
  });
  expect(await once(cancel, "exit")).toEqual([0, null]);
  expect(JSON.parse(out)).toMatchObject({ cancelled: ["idle"], pending: [], problem: null });
  await expect.poll(idle).toEqual([]);
}, 60_000);
