/** Data sets as a stored model reads them. */
import { MillraceError } from "@millrace/core";
import { type Dataset, readDataset, type StoredModel } from "@millrace/extreme";

/** Reads `data` with the model's own features. Throws DATASET_INVALID where its shape is not the model's. */
export async function datasetOf(stored: StoredModel, data: string): Promise<Dataset> {
  const { model, vectorizer } = stored;
  const dataset = await readDataset(
    data,
    model.encoder === "frozen"
      ? { features: "vectors" }
      : vectorizer === null
        ? { features: "files" }
        : { features: "text", vectorizer },
  );
  const { features, labels } = dataset.train;
  if (features.cols !== model.vocabulary || labels.cols !== model.labels)
    throw new MillraceError(
      "DATASET_INVALID",
      `${data} has ${features.cols} features and ${labels.cols} labels, the model ${model.vocabulary} and ${model.labels}`,
    );
  return dataset;
}
