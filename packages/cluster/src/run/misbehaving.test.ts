/** Jobs that do not do as they are told, or do not say what is true, in a real run on this machine. */
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { expect, test } from "vitest";
import type { SpeedProfile } from "../profile/speed-profile.ts";
import { runFiles } from "./charge.ts";
import { askScheduler } from "./control.ts";
import { LocalRun, stay } from "./local-run.conformance.ts";
import type { ClusterStatus } from "./snapshot.ts";

/** A program with a lease; `body` may use say(message), done() (its own verdict) and what its lease says: told(message). */
const leased = (body: string): string[] => [
  process.execPath,
  "-e",
  `const { connect } = require("node:net"), fs = require("node:fs");
  const socket = connect(process.env.MILLRACE_LEASE);
  const say = (m) => socket.write(JSON.stringify(m) + "\\n");
  let told = () => {}, rest = "";
  socket.on("data", (d) => {
    const lines = (rest + d).split("\\n"); rest = lines.pop();
    for (const line of lines) told(JSON.parse(line));
  });
  say({ kind: "hello", token: process.env.MILLRACE_LEASE_TOKEN, pid: process.pid });
  ${body}`,
];

test("a deaf job is killed when both its graces are over, and only then its GPUs go to the next one", async () => {
  await using local = new LocalRun([{ name: "here", gpus: 2, cpus: 2, hostBytes: 2e9 }]);
  const [heard, pid] = [local.file("heard"), local.file("pid")];
  const deaf = leased(`
    const hear = (what) => fs.appendFileSync(${JSON.stringify(heard)}, what + "\\n");
    if (process.env.MILLRACE_ATTEMPT !== "1") process.exit(0);
    fs.writeFileSync(${JSON.stringify(pid)}, String(process.pid));
    process.on("SIGTERM", () => hear("SIGTERM"));
    told = (m) => { if (m.kind === "stop") hear("stop"); };
    say({ kind: "checkpointed", id: 1, step: 7, dir: "/saved" });
    setInterval(() => {}, 1000);`);
  const grace = 0.4;
  const jobs = [
    {
      id: "deaf",
      command: deaf,
      gpus: 2,
      duration: 1000,
      preemptible: true,
      restartCost: 0,
      grace,
    },
    {
      id: "next",
      // Its own look at who is there: a process that has ended, or is a zombie, holds no CPU.
      command: local.marking(
        "next",
        `grep -qs '^State:.[^Z]' /proc/$(cat ${pid})/status && echo >> ${local.file("together")}; exit 0`,
      ),
      gpus: 2,
      duration: 0.1,
      arrive: 0.5,
    },
  ];
  await local.run(jobs, { cluster: { policy: "srtf" } });
  expect(local.states()).toEqual({ deaf: "done", next: "done" });
  expect(local.text("heard")).toBe("stop\nSIGTERM\n");
  expect(local.marks("next")).toBe(1);
  expect(existsSync(local.file("together"))).toBe(false);
  const story = local.events().filter((event) => "id" in event);
  const of = (id: string, kind: string) =>
    story.findIndex((event) => event.id === id && event.kind === kind);
  const [asked, ended] = [of("deaf", "asked"), of("deaf", "ended")];
  expect(story[ended]).toMatchObject({
    outcome: { kind: "killed", signal: "SIGKILL" },
    as: "stopped",
    verdict: null,
  });
  expect(of("next", "ordered")).toBeGreaterThan(ended);
  // Not before it had its time: once to save, once to end.
  expect((story[ended]?.at ?? 0) - (story[asked]?.at ?? 0)).toBeGreaterThanOrEqual(2 * grace);
  // That it was stopped is no failure of its own.
  expect(story.filter((event) => event.kind === "ordered" && event.id === "deaf")).toHaveLength(2);
});

const cpus = [1, 2, 3, 4, 5];
const curve = (name: string, rates: readonly number[]): SpeedProfile => ({
  name,
  cpus,
  hostBytes: [1e8],
  rate: rates.map((rate) => [rate]),
});
const models = new Map([
  ["modest", { profile: curve("modest", [10, 10, 10, 10, 10]) }],
  ["hungry", { profile: curve("hungry", [10, 20, 30, 40, 50]) }],
]);

test("a job that makes its reports up gets no CPU by it, and its neighbour loses none", async () => {
  await using local = new LocalRun([{ name: "here", gpus: 2, cpus: 6, hostBytes: 2e9 }]);
  const total = 1e5;
  // It dawdles first, so that more CPUs would seem to help, then boasts; its times add up, its cores are idle.
  const liar = leased(`
    let last = performance.now(), n = 0;
    setInterval(() => {
      const now = performance.now(), seconds = (now - last) / 1000;
      last = now; n++;
      const samples = n < 40 ? 2 * seconds : 1e6 * seconds * n;
      say({ kind: "report", step: n, computeSeconds: 0.2 * seconds, waitSeconds: 0.8 * seconds, samples });
    }, 50);`);
  const jobs = [
    { id: "liar", model: "modest", command: liar, samples: total, grace: 1 },
    { id: "honest", model: "hungry", command: ["sleep", "1000"], samples: total, grace: 1 },
  ];
  let last: ClusterStatus | null = null;
  const held = new Map<string, Set<number>>();
  await local.run(jobs, {
    models,
    cluster: { policy: "srtf", learn: 0.5 },
    leaves: (status) => {
      last = status;
      for (const job of status.jobs) {
        const mine = held.get(job.id) ?? new Set();
        held.set(job.id, mine);
        for (const slice of job.slices) mine.add(slice.cpus);
      }
      // Found out, and planned once more since.
      const observed = local.events().filter((event) => event.kind === "observed");
      return observed.filter((event) => event.doubt !== null).length >= 6;
    },
  });
  const status = last as ClusterStatus | null;
  const job = status?.jobs.find(({ id }) => id === "liar");
  expect(job?.reason).toMatch(/its reports do not add up/);
  // Both held from first to last what their profiles give them.
  expect(Object.fromEntries([...held].map(([id, seen]) => [id, [...seen]]))).toEqual({
    liar: [1],
    honest: [5],
  });
  // What it claims to have done is far beyond its work; what it is credited with is what it can have done at most.
  const ran = (status?.at ?? 0) - (job?.arrivedAt ?? 0);
  expect(job?.samples).toBeLessThanOrEqual(1.25 * 10 * (ran + 2));
  // It dawdled and was believed before it was found out.
  const observed = local.events().filter((event) => event.kind === "observed");
  expect(observed[0]).toMatchObject({ id: "liar", doubt: null });
});

test("an order that the engine refuses is said once and given again, and holds nobody else up", async () => {
  await using local = new LocalRun([{ name: "here", gpus: 2, cpus: 2, hostBytes: 2e9 }]);
  const runner = await local.open();
  const remove = runner.remove.bind(runner);
  runner.remove = async (id, signal) => {
    if (id === "stuck" && local.marks("later") === 0)
      throw new MillraceError("RUNNER_FAILED", "cancelling job stuck: not now");
    await remove(id, signal);
  };
  const notes: string[] = [];
  let cancelled: Promise<unknown> | null = null;
  await local.run(
    [
      { id: "stuck", command: local.marking("stuck", stay), grace: 1 },
      { id: "later", command: local.marking("later", "exit 0"), arrive: 3 },
    ],
    {
      runner,
      note: (text) => notes.push(text),
      leaves: () => {
        if (local.marks("stuck") === 1)
          cancelled ??= askScheduler(runFiles(local.folder).control, {
            verb: "cancel",
            ids: ["stuck"],
          });
        return false;
      },
    },
  );
  expect(await cancelled).toEqual({ cancelled: ["stuck"] });
  expect(local.states()).toEqual({ stuck: "cancelled", later: "done" });
  expect(notes).toEqual(["cancelling job stuck: not now"]);
});
