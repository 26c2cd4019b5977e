/**
 * The hand-over of a batch of 64 f32 images (38.5 MB) from the preparation service to numpy: from asking for a batch that is
 * there to its first and last element, and giving it back.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeJpegSet, startService } from "@millrace/data";
import { report } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-hand-over-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
makeJpegSet(folder, { count: 640 });
await using service = await startService({
  source: { path: folder },
  transform: { kind: "image", size: 224, mode: "train", type: "f32", layout: "nchw" },
  batchSize: 64,
  socket: join(folder, "f32.sock"),
});
// Three consumers: one that computes longer than a batch takes to prepare (batches wait for it: what a service is for), one
// that sleeps as long (it wakes with cold caches), and one that takes what comes while every core prepares.
const program = `
import json, sys, time
import numpy as np
import millrace_loader as m
work, seconds, count = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
times, gone, late = [], [], 0
weights = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32) / 23
def step():
    if work == "sleep": time.sleep(seconds)
    until, x = time.perf_counter() + (seconds if work == "compute" else 0), weights
    while time.perf_counter() < until: x = x @ weights
with m.Batches(sys.argv[1], state={"seed": 1, "epoch": 0, "position": 0}, copy=False) as batches:
    while len(times) < count + 16:
        step()
        # Waiting for preparation is no part of handing over: who always waits does it before, the others' waits are counted.
        if work == "none": batches._wait()
        waited = batches.stalls()["wait_seconds"]
        began = time.perf_counter()
        batch = batches.next()
        if batch is None: continue
        first, last = batch.data[0, 0, 0, 0], batch.data[-1, -1, -1, -1]
        took = time.perf_counter() - began
        assert batch.data.nbytes == 38535168
        began = time.perf_counter()
        batch.release()
        if batches.stalls()["wait_seconds"] > waited: late += 1
        else:
            times.append(took)
            gone.append(time.perf_counter() - began)
# The first ones map the ring's pages.
times, gone = sorted(times[16:]), sorted(gone[16:])
print(json.dumps([times[count // 2] * 1000, times[count * 95 // 100] * 1000, gone[count // 2] * 1000, late]))
`;
for (const [name, work, seconds, bar] of [
  ["to a consumer that computes", "compute", 0.08, 0.1],
  ["to one that slept", "sleep", 0.08, undefined],
  ["to one that waits while all cores prepare", "none", 0, undefined],
] as const) {
  const python = spawn(
    "/usr/bin/python3",
    ["-c", program, service.socket, work, String(seconds), "100"],
    {
      env: {
        ...process.env,
        OPENBLAS_NUM_THREADS: "1",
        PYTHONPATH: fileURLToPath(new URL("../packages/data/python", import.meta.url)),
      },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let printed = "";
  for await (const chunk of python.stdout) printed += chunk;
  const [p50, p95, back, late] = JSON.parse(printed) as [number, number, number, number];
  report(`hand-over of 38.5 MB in numpy ${name}, p50`, p50, "ms");
  report(`hand-over of 38.5 MB in numpy ${name}, p95`, p95, "ms", bar);
  report(`giving it back, ${name.slice(3)}, p50`, back, "ms");
  if (work !== "none") report(`batches that were not there yet, ${name.slice(3)}`, late, "");
}
