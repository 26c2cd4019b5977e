/** `millrace extreme add-labels` and `remove-labels`: a model folder with other labels. */
import { MillraceError } from "@millrace/core";
import {
  addLabels,
  loadModel,
  type NewLabel,
  readTexts,
  removeLabels,
  type StoredModel,
  saveModel,
  snapshotOf,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";

interface EditFlags {
  readonly model?: string;
  readonly out?: string;
  readonly from?: string;
  readonly ids?: readonly number[];
}

/** The folders of both commands, checked. */
function folders({ model, out }: EditFlags): { model: string; out: string } {
  if (model === undefined)
    throw new MillraceError("USAGE", "no model is named", { hint: "add --model DIR" });
  if (out === undefined)
    throw new MillraceError("USAGE", "no folder is named for the new model", {
      hint: "add --out DIR",
    });
  if (snapshotOf(out) !== null)
    throw new MillraceError("USAGE", `${out} holds a model already`, {
      hint: "models are never changed in place; name another folder",
    });
  return { model, out };
}

export async function extremeAddLabelsCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as EditFlags;
  const { model, out } = folders(flags);
  if (flags.from === undefined)
    throw new MillraceError("USAGE", "no file of labels is named", { hint: "add --from FILE" });
  const labels = (await readTexts(flags.from)).flatMap((line, i): NewLabel[] => {
    if (line.trim() === "") return [];
    const [name = "", ...examples] = line.split("\t").map((part) => part.trim());
    if (name === "")
      throw new MillraceError("DATASET_INVALID", `${flags.from}:${i + 1}: the label has no name`);
    return [{ name, examples: examples.filter((example) => example !== "") }];
  });
  const old = loadModel(model);
  return finish(session, out, addLabels(old, labels), {
    schema: "millrace.extreme-add-labels/1",
    first: old.model.labels,
    added: labels.length,
  });
}

export async function extremeRemoveLabelsCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as EditFlags;
  const { model, out } = folders(flags);
  const { ids } = flags;
  if (ids === undefined)
    throw new MillraceError("USAGE", "no labels are named", { hint: "add --ids 17,4" });
  return finish(session, out, removeLabels(loadModel(model), ids), {
    schema: "millrace.extreme-remove-labels/1",
    removed: ids.length,
  });
}

function finish(session: Session, out: string, stored: StoredModel, told: object): number {
  saveModel(out, stored);
  const labels = stored.model.labels - stored.removed.size;
  if (session.json) session.printJson({ ...told, out, labels });
  else session.print(`${labels} labels can be ranked; the model is in ${out}`);
  return 0;
}
