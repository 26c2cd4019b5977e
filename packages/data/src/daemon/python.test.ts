import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

  test("reads files through the byte cache, and from storage what it lacks", async () => {
    const source = openFolder(folder);
    using cache = new MinioCache({
      source,
      capacityBytes: source.totalBytes,
      folder: join(shared, "cache"),
    });
    for (let i = 0; i < 15; i++) cache.admit(i, readFileSync(source.extent(i).path));
    const program = `${print}
import glob, os
cache = m.ByteCache(sys.argv[1], sys.argv[2])
m._caches[sys.argv[1]] = cache
for path in sorted(glob.glob(sys.argv[1] + "/*/*.jpg")):
    with m.open(path) as file, open(path, "rb") as plain: assert file.read() == plain.read(), path
os.utime(path, (1, 1))
m.open(path)
print(cache.hits, cache.misses)
`;
    expect(await run(program, folder, join(shared, "cache"))).toEqual(["15 8"]);
  });
});
