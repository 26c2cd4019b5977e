import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sharedFolder } from "@millrace/system";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MinioCache } from "../cache/minio-cache.ts";
import { DataLoader } from "../loader/loader.ts";
import type { ImageTransformSpec } from "../prep/transform.ts";
import { openFolder } from "../source/folder.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import type { DataService } from "./service.ts";
import { startService } from "./start-service.ts";

const python = "/usr/bin/python3";
const has = (module: string): boolean =>
  spawnSync(python, ["-c", `import ${module}`], { stdio: "ignore" }).status === 0;
// Where CI runs, a missing numpy is a failure and not a reason to skip.
const here = process.env["CI"] !== undefined || has("numpy");

const folder = mkdtempSync(join(tmpdir(), "millrace-python-"));
const shared = mkdtempSync(join(sharedFolder(), "test-"));
const transform: ImageTransformSpec = {
  kind: "image",
  size: 16,
  mode: "train",
  type: "f32",
  layout: "nchw",
};
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(shared, { recursive: true });
});

/** Runs a program that imports the shim; gives the lines it printed. */
function run(program: string, ...args: string[]): Promise<string[]> {
  const child = spawn(python, ["-c", program, ...args], {
    env: { ...process.env, PYTHONPATH: fileURLToPath(new URL("../../python", import.meta.url)) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let errors = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  return new Promise((resolve, reject) =>
    child.once("close", (code) =>
      code === 0 ? resolve(out.trim().split("\n")) : reject(new Error(errors)),
    ),
  );
}

describe.runIf(here)("the Python shim", () => {
  let service: DataService;
  let reference: string[];
  beforeAll(async () => {
    makeJpegSet(folder, { count: 22, classes: 2, width: 48 });
    service = await startService({
      source: { path: folder },
      transform,
      batchSize: 4,
      producers: 1,
      socket: join(shared, "socket"),
      sharedFolder: shared,
      detachSeconds: 0.2,
    });
    reference = [];
    await using loader = new DataLoader({
      source: openFolder(folder),
      transform,
      batchSize: 4,
      workers: 1,
    });
    for (let ends = 0; ends < 2; ) {
      const loan = await loader.next();
      if (loan === null) {
        ends++;
        continue;
      }
      const { data, labels, items, epoch, position } = loan.batch;
      const hash = createHash("sha1");
      for (const part of [data, labels, items])
        hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
      reference.push(`${epoch} ${position} ${data.length} ${hash.digest("hex")}`);
      loan.release();
    }
  });
  afterAll(async () => service[Symbol.asyncDispose]());

  const print = `
import hashlib, sys
import numpy as np
import millrace_loader as m
def show(b):
    h = hashlib.sha1()
    for a in (b.data, b.labels, b.items): h.update(np.asarray(a).tobytes())
    print(b.epoch, b.position, np.asarray(b.data).size, h.hexdigest())
start = {"seed": 0, "epoch": 0, "position": 0}
`;

  test("iterates over epochs and sees the bytes that a loader of one's own makes", async () => {
    const program = `${print}
with m.Batches(sys.argv[1], state=start) as batches:
    assert len(batches) == 6
    for _ in range(2):
        for batch in batches: show(batch)
`;
    expect(await run(program, service.socket)).toEqual(reference);
  });

  test("goes on exactly from a state, in views that are released", async () => {
    const program = `${print}
with m.Batches(sys.argv[1], state=start, copy=False) as batches:
    for _ in range(4):
        with batches.next() as batch: show(batch)
    state = batches.state_dict()
with m.Batches(sys.argv[1], state=start, copy=False) as batches:
    batches.load_state_dict(state)
    for _ in range(2):
        for batch in batches:
            assert not batch.data.flags.writeable and batch.data.dtype == np.float32
            assert batch.data.shape[1:] == (3, 16, 16)
            show(batch)
            batch.release()
            assert batch.data is None
            batch.release()
`;
    expect(await run(program, service.socket)).toEqual(reference);
  });

  test("keeps its place over many batches, in what another job left of its place", async () => {
    const program = `${print}
for _ in range(2):
    with m.Batches(sys.argv[1], state=start, copy=False) as batches:
        for epoch in range(14):
            positions = []
            for batch in batches:
                assert batch.epoch == epoch
                positions.append(batch.position)
                batch.release()
            assert positions == [0, 4, 8, 12, 16, 20], positions
with m.Batches(sys.argv[1], state=start) as batches:
    for _ in range(2):
        for batch in batches: show(batch)
`;
    expect(await run(program, service.socket)).toEqual(reference);
  });

  test("says which sample was bad where the service is to fail", async () => {
    const bad = mkdtempSync(join(tmpdir(), "millrace-python-"));
    makeJpegSet(bad, { count: 8, classes: 1, width: 48 });
    const { path } = openFolder(bad).extent(5);
    writeFileSync(path, "no image");
    await using failing = await startService({
      source: { path: bad },
      transform,
      batchSize: 4,
      producers: 1,
      shuffle: false,
      badSamples: "fail",
      socket: join(shared, "failing"),
      sharedFolder: shared,
    });
    const program = `${print}
with m.Batches(sys.argv[1], state=start) as batches:
    print(len(batches.next()))
    for _ in range(2):
        try: batches.next()
        except m.ServiceError as error: print(error)
`;
    const lines = await run(program, failing.socket);
    expect(lines).toEqual(["4", expect.stringContaining(basename(path)), lines[1]]);
    rmSync(bad, { recursive: true });
  });

  test.runIf(has("torch"))("gives tensors", async () => {
    const program = `${print}
import torch
batches = m.Batches(sys.argv[1], state=start, as_torch=True)
data, labels = next(iter(batches))
assert isinstance(data, torch.Tensor) and labels.dtype == torch.int32
batches.load_state_dict(start)
for batch in batches: show(batch)
`;
    expect(await run(program, service.socket)).toEqual(reference.slice(0, 6));
  });

  test("says why it cannot join", async () => {
    await expect(run(`${print}m.Batches("/nowhere")`)).rejects.toThrow(
      /no service answers on \/nowhere/,
    );
    const odd = `${print}m.Batches(sys.argv[1], state={"seed": 0, "epoch": 0, "position": 3})`;
    await expect(run(odd, service.socket)).rejects.toThrow(/position 3 with seed 0 is no border/);
  });

  test("says what the waits were for", async () => {
    const program = `${print}
with m.Batches(sys.argv[1], state=start) as batches:
    for batch in batches: pass
    stalls = batches.stalls()
assert stalls["batches"] == 6 and stalls["samples"] == 22, stalls
assert abs(stalls["wait_seconds"] - stalls["fetch_seconds"] - stalls["prep_seconds"]) < 1e-9
print(stalls["wait_seconds"] > 0)
`;
    expect(await run(program, service.socket)).toEqual(["True"]);
  });

  test("tells the analyzer its steps, with input that is synthetic when it should be", async () => {
    const out = join(folder, "steps");
    const program = `${print}
import os
assert m.instrument([1]) == [1]
os.environ.update(MILLRACE_ANALYZE="synthetic", MILLRACE_ANALYZE_OUT=sys.argv[2], MILLRACE_ANALYZE_SAMPLES="10")
with m.Batches(sys.argv[1], state=start, copy=False) as batches:
    steps = m.instrument(batches)
    assert len(steps) == 6
    for batch in steps:
        show(batch)
        batch.release()
os.environ.update(MILLRACE_ANALYZE="cold", MILLRACE_ANALYZE_SAMPLES="100")
for data, labels in m.instrument([(np.zeros((5, 2)), np.zeros(5)), (np.zeros((3, 2)), np.zeros(3))]): pass
for batch in m.instrument([{"x": np.zeros(7)}]): pass
`;
    const first = reference[0] as string;
    expect(await run(program, service.socket, out)).toEqual([first, first, first]);
    const steps = readFileSync(out, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { samples: number; seconds: number });
    expect(steps.map(({ samples }) => samples)).toEqual([4, 4, 4, 5, 3, 7]);
    for (const { seconds } of steps) expect(seconds).toBeGreaterThan(0);
  });

  describe("the byte cache", () => {
    const readAll = `
import glob, os, sys
import millrace_loader as m
root, folder, capacity = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = m.ByteCache(root, folder, capacity)
import millrace_cache
millrace_cache._caches[root] = cache
def read_all():
    for path in sorted(glob.glob(root + "/*/*.jpg")):
        with m.open(path) as file, open(path, "rb") as plain: assert file.read() == plain.read(), path
    return path
`;
    test("gives what loaders cached, and keeps what they lack while there is room", async () => {
      const source = openFolder(folder);
      const cached = join(shared, "cache");
      const half = Array.from({ length: 15 }, (_, i) => source.extent(i).bytes);
      const room = half.reduce((a, b) => a + b, 0) + source.extent(15).bytes + 10;
      {
        using cache = new MinioCache({ source, capacityBytes: room, folder: cached });
        for (let i = 0; i < 15; i++) cache.admit(i, readFileSync(source.extent(i).path));
      }
      const program = `${readAll}
read_all()
print(cache.hits, cache.misses, cache.admitted)
path = read_all()
print(cache.hits, cache.misses, cache.admitted, cache.refused)
os.utime(path, (1, 1))
m.open(path)
print(cache.hits, cache.misses)
`;
      expect(await run(program, folder, cached, "0")).toEqual(["15 7 1", "31 13 1 12", "31 14"]);
      using cache = new MinioCache({ source, capacityBytes: room, folder: cached });
      expect(cache.counts()).toMatchObject({ items: 16, capacityBytes: room });
      expect(cache.counts().usedBytes).toBe(room - 10);
    });

    test("is made where there is none, by several processes at once, and loaders go on with it", async () => {
      const source = openFolder(folder);
      const cached = join(shared, "made");
      const program = `${readAll}
m.open(read_all()).close()
worker = os.fork()
read_all()
if worker == 0: os._exit(0)
assert os.waitpid(worker, 0)[1] == 0
hits = cache.hits
read_all()
print(cache.hits - hits)
`;
      const capacity = String(source.totalBytes);
      const runs = await Promise.all([0, 1].map(() => run(program, folder, cached, capacity)));
      expect(runs).toEqual([["22"], ["22"]]);
      using cache = new MinioCache({ source, capacityBytes: source.totalBytes, folder: cached });
      for (let item = 0; item < source.length; item++) expect(cache.lookup(item)).not.toBeNull();
      expect(cache.counts()).toMatchObject({ items: 22, usedBytes: source.totalBytes, misses: 0 });
    });
  });
});
