/**
 * Model folders: model.json, the matrices as raw little-endian f32, label texts, and what a resumed run needs. A folder is an
 * immutable snapshot: it is written under a temporary name, synced, and renamed.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { makeFolder, readTextFile, writeFileAtomic } from "@millrace/core/node";
import { z } from "zod";
import { Heap } from "../kernels/heap.ts";
import { precisions } from "../kernels/label-matrix.ts";
import type { VectorizerState } from "../text/vectorizer.ts";
import { createModel, encoderKinds, type Model } from "./model.ts";
import { mapArray, type RawArray, readArray as read, writeArray } from "./raw.ts";

const headSchema = z.object({
  schema: z.literal("millrace.extreme-model/1"),
  vocabulary: z.int().min(1),
  labels: z.int().min(1),
  dim: z.int().min(8).multipleOf(8),
  encoder: z.enum(encoderKinds),
  precision: z.enum(precisions).default("f32"),
  bias: z.number(),
  /** Labels that keep their ids and are never ranked. */
  removed: z.array(z.int().min(0)),
  /** Null: the model reads sparse rows of its own feature ids. */
  vectorizer: z
    .object({ bigrams: z.boolean(), chars: z.int().min(0), minCount: z.int().min(1) })
    .nullable(),
});

/** A model with what turns texts into its features and ids into names. */
export interface StoredModel {
  readonly model: Model;
  readonly vectorizer: VectorizerState | null;
  readonly labelTexts: readonly string[] | null;
  /** Labels that keep their ids and are never ranked. */
  readonly removed: ReadonlySet<number>;
  /** z of some training points, rows of dim: what an index is checked with and new labels are set against. */
  readonly sample: Float32Array;
}

/** Raw arrays beside the model, by file name; `json` is text. */
export interface Extras {
  readonly arrays: Readonly<Record<string, RawArray>>;
  readonly texts: Readonly<Record<string, string>>;
}

/** Label vectors lie in the file as in memory. */
function classifierFile(model: Model): string {
  return `classifier.${model.precision}`;
}

function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  fsyncSync(folder);
  closeSync(folder);
}

/** Writes the snapshot `name` below `out` and then points `out/latest` at it; keeps the newest two. */
export function saveSnapshot(out: string, name: string, stored: StoredModel, extras: Extras): void {
  const { model, vectorizer, labelTexts, removed, sample } = stored;
  const temporary = join(out, `.${name}.${process.pid}.tmp`);
  rmSync(temporary, { recursive: true, force: true });
  makeFolder(temporary);
  const head = {
    schema: "millrace.extreme-model/1",
    vocabulary: model.vocabulary,
    labels: model.labels,
    dim: model.dim,
    encoder: model.encoder,
    precision: model.precision,
    bias: model.bias,
    removed: [...removed].sort((a, b) => a - b),
    vectorizer: vectorizer?.options ?? null,
  };
  writeArray(join(temporary, "embedding.f32"), model.embedding.view);
  if (model.residual !== null) {
    writeArray(join(temporary, "residual-down.f32"), model.residual.down.view);
    writeArray(join(temporary, "residual-up.f32"), model.residual.up.view);
  }
  writeArray(join(temporary, classifierFile(model)), model.classifier.view);
  writeArray(join(temporary, "sample.f32"), sample);
  if (vectorizer !== null) {
    writeArray(join(temporary, "idf.f32"), vectorizer.idf);
    writeArray(join(temporary, "features.u32"), vectorizer.hashes);
  }
  if (labelTexts !== null)
    writeFileAtomic(
      join(temporary, "labels.txt"),
      `${labelTexts.map((t) => t.replace(/[\r\n]+/g, " ")).join("\n")}\n`,
    );
  for (const [file, view] of Object.entries(extras.arrays)) writeArray(join(temporary, file), view);
  for (const [file, text] of Object.entries(extras.texts))
    writeFileAtomic(join(temporary, file), text);
  writeFileAtomic(join(temporary, "model.json"), `${JSON.stringify(head, null, 2)}\n`);
  syncFolder(temporary);
  const final = join(out, name);
  rmSync(final, { recursive: true, force: true });
  renameSync(temporary, final);
  syncFolder(out);
  writeFileAtomic(join(out, "latest"), `${name}\n`);
  const old = snapshots(out)
    .filter((other) => other !== name)
    .sort()
    .reverse()
    .slice(1);
  for (const other of old) rmSync(join(out, other), { recursive: true, force: true });
}

/** Writes a model that is no snapshot of a run as the folder's only one. */
export function saveModel(out: string, stored: StoredModel): void {
  saveSnapshot(out, "epoch-0000", stored, { arrays: {}, texts: {} });
}

function snapshots(out: string): string[] {
  return readdirSync(out).filter(
    (name) => /^epoch-\d+$/.test(name) && existsSync(join(out, name, "model.json")),
  );
}

/** The snapshot that a path means: itself, or the one that its `latest` names. Null where there is none. */
export function snapshotOf(path: string): string | null {
  if (existsSync(join(path, "model.json"))) return path;
  const latest = join(path, "latest");
  if (!existsSync(latest)) return null;
  const folder = join(path, readFileSync(latest, "utf8").trim());
  return existsSync(join(folder, "model.json")) ? folder : null;
}

/** Fills the matrices of a model of a snapshot's shape, by reading or by mapping. Throws DATASET_INVALID where sizes differ. */
export function readMatrices(folder: string, model: Model, readArray = read): void {
  readArray(join(folder, "embedding.f32"), model.embedding.view);
  if (model.residual !== null) {
    readArray(join(folder, "residual-down.f32"), model.residual.down.view);
    readArray(join(folder, "residual-up.f32"), model.residual.up.view);
  }
  readArray(join(folder, classifierFile(model)), model.classifier.view);
}

/** Loads a model folder, or the newest snapshot of a training run. Throws FILE_UNREADABLE or DATASET_INVALID. */
export function loadModel(path: string, heap = new Heap()): StoredModel {
  const folder = snapshotOf(path);
  if (folder === null)
    throw new MillraceError("FILE_UNREADABLE", `${path} holds no model`, {
      hint: "name the --out folder of millrace extreme train",
    });
  const headFile = join(folder, "model.json");
  let value: unknown;
  try {
    value = JSON.parse(readTextFile(headFile));
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("DATASET_INVALID", `${headFile} is not JSON`, { cause: error });
  }
  const parsed = headSchema.safeParse(value);
  if (!parsed.success)
    throw new MillraceError(
      "DATASET_INVALID",
      `${headFile}: ${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`,
    );
  const head = parsed.data;
  const model = createModel(heap, head, head.bias, null);
  // Snapshots never change, so that a mapped one is as good as one that was read.
  readMatrices(folder, model, mapArray);
  let vectorizer: VectorizerState | null = null;
  if (head.vectorizer !== null) {
    const idf = new Float32Array(head.vocabulary);
    const hashes = new Uint32Array(head.vocabulary);
    read(join(folder, "idf.f32"), idf);
    read(join(folder, "features.u32"), hashes);
    vectorizer = { options: head.vectorizer, hashes, idf };
  }
  const names = join(folder, "labels.txt");
  const labelTexts = existsSync(names)
    ? readTextFile(names).split("\n").slice(0, head.labels)
    : null;
  const sampleFile = join(folder, "sample.f32");
  const points = existsSync(sampleFile) ? statSync(sampleFile).size / (4 * head.dim) : 0;
  const sample = new Float32Array(Math.floor(points) * head.dim);
  read(sampleFile, sample);
  return { model, vectorizer, labelTexts, removed: new Set(head.removed), sample };
}
