/** What a trainer must write and read back to go on to the same bytes, beside the model itself. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readMatrices } from "../model/folder.ts";
import { type RawArray, readArray } from "../model/raw.ts";
import type { Trainer } from "./trainer.ts";

const labelState = "label-optimizer.f32";

/** Optimizer state and shortlists by file name. */
export function stateArrays(trainer: Trainer): Readonly<Record<string, RawArray>> {
  const { shortlists, update, encoder } = trainer;
  return {
    ...encoder.state,
    ...(update.state === null ? {} : { [labelState]: update.state.view }),
    ...(shortlists === null
      ? {}
      : { "shortlists.i32": shortlists.labels, "shortlists.f32": shortlists.scores }),
  };
}

/** Reads matrices, optimizer state and shortlists of a snapshot into the trainer. Throws DATASET_INVALID where sizes differ. */
export function readState(folder: string, trainer: Trainer): void {
  readMatrices(folder, trainer.model);
  for (const [name, view] of Object.entries(trainer.encoder.state))
    readArray(join(folder, name), view);
  if (trainer.update.state !== null) readArray(join(folder, labelState), trainer.update.state.view);
  const lists = join(folder, "shortlists.i32");
  if (existsSync(lists)) {
    const k = trainer.options.shortlist;
    const labels = new Int32Array(trainer.points * k);
    const scores = new Float32Array(labels.length);
    readArray(lists, labels);
    readArray(join(folder, "shortlists.f32"), scores);
    trainer.shortlists = { k, labels, scores, scanned: 0, recall: null };
  } else trainer.shortlists = null;
}
