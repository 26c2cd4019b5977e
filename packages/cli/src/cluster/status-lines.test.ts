import type { ClusterStatus, JobStatus } from "@millrace/cluster/run";
import { expect, test } from "vitest";
import { unpainted } from "../ui/paint.ts";
import { widthOf } from "../ui/width.ts";
import { statusLines } from "./status-lines.ts";

const job = (id: string, over: Partial<JobStatus> = {}): JobStatus => ({
  id,
  tenant: "all",
  model: null,
  gpus: 1,
  state: "waiting",
  reason: "",
  attempt: 0,
  slices: [],
  speed: 0,
  step: 0,
  samples: 0,
  checkpointStep: null,
  failures: 0,
  arrivedAt: 100,
  finishedAt: null,
  leftSeconds: null,
  ...over,
});
const running = (id: string): JobStatus =>
  job(id, {
    state: "running",
    attempt: 1,
    speed: 1.5,
    step: 1200,
    leftSeconds: 90,
    slices: [{ server: "gpu-1", gpus: [0], cpus: 3, hostBytes: 62e9, cacheBytes: 0, numa: null }],
  });
const status = (jobs: readonly JobStatus[]): ClusterStatus => ({
  schema: "millrace.cluster-status/1",
  at: 160,
  scheduler: { running: true, fence: 1, plans: 3 },
  draining: [],
  servers: [
    {
      name: "gpu-1",
      gpus: 8,
      cpus: 24,
      hostBytes: 500e9,
      condition: "up",
      heldGpus: 1,
      heldCpus: 3,
      heldBytes: 62e9,
    },
  ],
  jobs,
});
const look = (width: number) => ({ width, paint: unpainted });

test("running jobs come first, then those that wait, then those that ended, the last one first", () => {
  const lines = statusLines(
    status([
      job("old", { state: "done", finishedAt: 120 }),
      job("waits"),
      job("new", { state: "failed", finishedAt: 150, reason: "exit code 7 after 3 starts" }),
      running("runs"),
    ]),
    look(140),
  );
  const ids = ["runs", "waits", "new", "old"];
  const at = ids.map((id) => lines.findIndex((line) => line.startsWith(id)));
  expect(at).toEqual([...at].sort((a, b) => a - b));
  expect(at[0]).toBeGreaterThan(0);
  expect(lines.at(-1)).toBe("1 running, 1 waiting, 1 done, 1 failed, 3 plans");
});

test("where nothing runs there is room for the reasons, in 80 cells", () => {
  const reason = "it ended with exit code 7 after 2 starts";
  const lines = statusLines(
    status([job("crashes", { state: "failed", finishedAt: 103, reason })]),
    look(80),
  );
  expect(lines.find((line) => line.startsWith("crashes"))).toMatch(`after 3 s; ${reason}`);
  expect(lines.join("\n")).not.toMatch(/speed|left/);
});

test("in a terminal it takes no more lines and cells than there are", () => {
  const jobs = [
    ...Array.from({ length: 20 }, (_, i) => running(`runs-${i}`)),
    ...Array.from({ length: 180 }, (_, i) => job(`waits-with-a-long-name-${i}`)),
  ];
  for (const [width, height] of [
    [80, 24],
    [140, 50],
  ] as const) {
    const lines = statusLines(status(jobs), look(width), height - 1);
    expect(lines.length).toBeLessThanOrEqual(height - 1);
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width);
    expect(lines.join("\n")).toMatch(/… and \d+ more jobs/);
    expect(lines.at(-1)).toMatch(/20 running, 180 waiting/);
  }
  expect(statusLines(status(jobs), look(Number.POSITIVE_INFINITY))).toHaveLength(205);
});
