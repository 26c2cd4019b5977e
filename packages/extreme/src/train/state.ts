/** What a trainer must write and read back to go on to the same bytes, beside the model itself. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type RawArray, readArray } from "../model/folder.ts";
import type { Trainer } from "./trainer.ts";

/** Optimizer state and shortlists by file name. */
export function stateArrays(trainer: Trainer): Readonly<Record<string, RawArray>> {
  return {
    "accumulators.f32": trainer.encoder.accumulators.view,
    ...(trainer.shortlists === null
      ? {}
      : {
          "shortlists.i32": trainer.shortlists.labels,
          "shortlists.f32": trainer.shortlists.scores,
        }),
  };
}

/** Reads matrices, optimizer state and shortlists of a snapshot into the trainer. Throws DATASET_INVALID where sizes differ. */
export function readState(folder: string, trainer: Trainer): void {
  readArray(join(folder, "embedding.f32"), trainer.model.embedding.view);
  readArray(join(folder, "classifier.f32"), trainer.model.classifier.view);
  readArray(join(folder, "accumulators.f32"), trainer.encoder.accumulators.view);
  const lists = join(folder, "shortlists.i32");
  if (existsSync(lists)) {
    const k = trainer.options.shortlist;
    const labels = new Int32Array(trainer.points * k);
    const scores = new Float32Array(labels.length);
    readArray(lists, labels);
    readArray(join(folder, "shortlists.f32"), scores);
    trainer.shortlists = { k, labels, scores, scanned: 0 };
  } else trainer.shortlists = null;
}
