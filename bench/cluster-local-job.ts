/**
 * A training job for cluster-local.bench.ts: Millrace's loader on real files in front of an accelerator that is emulated as
 * a rate. Takes its lease, holds as much of its data in a MinIO cache as it is granted (also when that changes), and prints its
 * samples.
 * Arguments: folder, image size, samples, accelerator rate, reads per second of the (emulated) storage, 0: the real one.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { openLease } from "@millrace/core/node";
import { DataLoader, EmulatedStorage, FileReader, openFolder } from "@millrace/data";

const [folder = "", size, samples, rate, reads] = process.argv.slice(2);
const lease = await openLease();
const files = new FileReader({ mode: "cached" });
const reader =
  Number(reads) === 0
    ? files
    : new EmulatedStorage(files, { bytesPerSecond: 1e9, operationsPerSecond: Number(reads) });
const cacheGranted = (): number => (Number(reads) === 0 ? 0 : (lease?.grant().cacheBytes ?? 0));
let cache = cacheGranted();
const loader = new DataLoader({
  source: openFolder(folder),
  transform: { kind: "image", size: Number(size), mode: "train", type: "f32", layout: "nchw" },
  batchSize: 16,
  workers: 2,
  cache: Math.floor(cache),
  reader,
});
console.log(`ready ${process.uptime().toFixed(3)}`);
let done = 0;
let step = 0;
let free = performance.now();
while (done < Number(samples)) {
  if (cacheGranted() !== cache) {
    cache = cacheGranted();
    loader.setCacheBytes(Math.floor(cache));
  }
  const asked = performance.now();
  const loan = await loader.next();
  if (loan === null) continue;
  const waited = Math.max(0, performance.now() - Math.max(asked, free));
  free = Math.max(performance.now(), free) + (1000 * loan.samples) / Number(rate);
  // One batch is queued while the one before computes, as trainers do.
  const ahead = free - performance.now() - (1000 * loan.samples) / Number(rate);
  if (ahead > 0) await sleep(ahead);
  done += loan.samples;
  lease?.report(++step, loan.samples / Number(rate), waited / 1000, loan.samples);
  console.log(`samples ${done}`);
  loan.release();
}
await loader[Symbol.asyncDispose]();
await lease?.[Symbol.asyncDispose]();
process.exit(0);
