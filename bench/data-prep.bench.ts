/**
 * Preparation of training images to normalised f32 [3, 224, 224], CPU time per image: ours against PIL, OpenCV and
 * torchvision's DataLoader on the same files (Debian's python3-pil, -opencv, -torchvision, as far as they are there).
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  DataLoader,
  makeJpegSet,
  makeTransform,
  openFolder,
  type TransformSpec,
} from "@millrace/data";
import { median, report } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-prep-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
makeJpegSet(folder, { count: 320 });
const source = openFolder(folder);
const spec: TransformSpec = {
  kind: "image",
  size: 224,
  mode: "train",
  type: "f32",
  layout: "nchw",
};
const milliseconds = (from: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
};

const transform = await makeTransform(spec);
const out = new Uint8Array(4 * 3 * 224 * 224);
const alone: number[] = [];
for (let round = 0; round < 4; round++) {
  const before = process.cpuUsage();
  for (let item = 0; item < source.length; item++)
    await transform.apply(readFileSync(source.extent(item).path), out, {
      seed: 1,
      epoch: round,
      item,
      label: 0,
    });
  // The first round compiles.
  if (round > 0) alone.push(milliseconds(before) / source.length);
}
const ours = median(alone);

await using loader = new DataLoader({ source, transform: spec, batchSize: 64, workers: 2 });
const epoch = async (): Promise<void> => {
  for (let loan = await loader.next(); loan !== null; loan = await loader.next()) loan.release();
};
await epoch();
const before = process.cpuUsage();
for (let i = 0; i < 3; i++) await epoch();
const whole = milliseconds(before) / (3 * source.length);

report("ours: read, decode, crop, resize, flip, normalise", ours, "ms");
report("ours: the loader, two workers, everything counted", whole, "ms");
const program = fileURLToPath(new URL("./data-prep.py", import.meta.url));
const python = spawnSync("/usr/bin/python3", [program, folder], { encoding: "utf8" });
if (python.status !== 0) throw new Error(python.stderr);
const theirs = JSON.parse(python.stdout) as Readonly<Record<string, number>>;
for (const [name, least, mine] of [
  ["pil", 1.7, ours],
  ["opencv", 1.5, ours],
  ["torchvision", 2.2, whole],
] as const) {
  const seconds = theirs[name];
  if (seconds === undefined) continue;
  report(
    `${name}${name === "torchvision" ? ": its DataLoader, two workers" : ""}`,
    1000 * seconds,
    "ms",
  );
  report(`ours / ${name}`, mine / (1000 * seconds), "", 1 / least);
}
