/** Finds the files of a data set in a folder, whichever of the published forms it has, and reads them. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { MillraceError, suggestion } from "@millrace/core";
import {
  defaultVectorizer,
  fitVectorizer,
  type VectorizerOptions,
  type VectorizerState,
  vectorize,
} from "../text/vectorizer.ts";
import { type Csr, normalizeRows } from "./csr.ts";
import { readFilter } from "./filters.ts";
import { readMatrix, readOneFile } from "./sparse.ts";
import { readJsonLines, readTexts } from "./texts.ts";
import { readVectors } from "./vectors.ts";

/** One part (training or test) of a data set. */
export interface Split {
  readonly features: Csr;
  readonly labels: Csr;
  /** Pairs that are never ranked nor drawn as negatives; null where there is no filter file. */
  readonly filter: Csr | null;
}

export interface Dataset {
  readonly train: Split;
  readonly test: Split | null;
  /** One text per label, where the set has them. */
  readonly labelTexts: readonly string[] | null;
  /** Set when the features were made from raw text: a model needs it to read new texts. */
  readonly vectorizer: VectorizerState | null;
}

export type FeatureSource = "text" | "files" | "vectors" | "none";

export interface ReadDatasetOptions {
  /** Where a folder has both raw text and feature files: which makes the features (default: text). `vectors` takes `trn_X.f32` and `tst_X.f32`, raw rows of f32 that another encoder made; `none` reads labels alone. */
  readonly features?: FeatureSource;
  /** How to make features of text; or what a model learnt, to make the same features again. */
  readonly vectorizer?: VectorizerOptions | VectorizerState;
  /** Do not read the test files. */
  readonly trainOnly?: boolean;
  readonly signal?: AbortSignal;
}

/** The first of some files that exists in a folder, also with `.gz`. */
function find(folder: string, names: readonly string[]): string | null {
  for (const name of names)
    for (const path of [join(folder, name), join(folder, `${name}.gz`)])
      if (existsSync(path)) return path;
  return null;
}

const filterNames = {
  trn: ["filter_labels_train.txt", "trn_filter_labels.txt"],
  tst: ["filter_labels_test.txt", "tst_filter_labels.txt"],
} as const;

type Part = "trn" | "tst";

/** What a part is read from: text still has to be turned into features. */
type Raw = { readonly labels: Csr } & (
  | { readonly features: Csr }
  | { readonly texts: readonly string[] }
);

async function readPart(
  folder: string,
  part: Part,
  source: FeatureSource,
  labelCount: number | null,
  signal?: AbortSignal,
): Promise<Raw | null> {
  const labelsFile = find(folder, [`${part}_X_Y.txt`]);
  const vectorFile = join(folder, `${part}_X.f32`);
  if (labelsFile !== null && existsSync(vectorFile) && source === "vectors") {
    const labels = await readMatrix(labelsFile, false, signal);
    return { features: readVectors(vectorFile, labels.rows), labels };
  }
  const featuresFile = find(folder, [`${part}_X_Xf.txt`]);
  const textFile = find(folder, [`${part}_X.txt`]);
  if (labelsFile !== null && (featuresFile !== null || textFile !== null)) {
    const labels = await readMatrix(labelsFile, false, signal);
    if (source === "none") return { features: emptyRows(labels.rows), labels };
    if (textFile !== null && (source === "text" || featuresFile === null)) {
      const texts = await readTexts(textFile);
      sameRows(textFile, texts.length, labelsFile, labels.rows);
      return { texts, labels };
    }
    const features = await readMatrix(featuresFile as string, true, signal);
    sameRows(featuresFile as string, features.rows, labelsFile, labels.rows);
    return { features, labels };
  }
  const one = find(folder, [`${part}.txt`, part === "trn" ? "train.txt" : "test.txt"]);
  if (one !== null) return readOneFile(one, signal);
  const json = find(folder, [`${part}.json`]);
  if (json === null) return null;
  const { texts, labels } = await readJsonLines(json, labelCount);
  if (labels === null)
    throw new MillraceError(
      "DATASET_INVALID",
      `${json} has no target_ind, so its points have no labels`,
    );
  return source === "none" ? { features: emptyRows(labels.rows), labels } : { texts, labels };
}

function emptyRows(rows: number): Csr {
  return {
    rows,
    cols: 0,
    indptr: new Int32Array(rows + 1),
    indices: new Int32Array(0),
    values: null,
  };
}

function sameRows(a: string, rowsA: number, b: string, rowsB: number): void {
  if (rowsA !== rowsB)
    throw new MillraceError("DATASET_INVALID", `${a} has ${rowsA} rows, ${b} has ${rowsB}`, {
      hint: "the two files describe the same points, one a line",
    });
}

/**
 * Reads the data set of a folder: `trn.txt`/`tst.txt` (one-file form), `trn_X_Xf.txt` + `trn_X_Y.txt`, `trn_X.txt` +
 * `trn_X_Y.txt` (raw text), or `trn.json.gz` + `lbl.json.gz`; label texts from `Y.txt` or `lbl.json`; filters where there are
 * any. Throws FILE_UNREADABLE where nothing fits, DATASET_INVALID where files do not match.
 */
export async function readDataset(
  folder: string,
  options: ReadDatasetOptions = {},
): Promise<Dataset> {
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new MillraceError("FILE_UNREADABLE", `${folder} is not a folder with a data set`);
  const source = options.features ?? "text";
  const texts = await readLabelTexts(folder);
  const train = await readPart(folder, "trn", source, texts?.length ?? null, options.signal);
  if (train === null) throw noDataset(folder);
  const labelCount = train.labels.cols;
  if (texts !== null && texts.length !== labelCount)
    throw new MillraceError(
      "DATASET_INVALID",
      `${folder} has ${texts.length} label texts for ${labelCount} labels`,
    );
  const test =
    options.trainOnly === true
      ? null
      : await readPart(folder, "tst", source, labelCount, options.signal);
  const given = options.vectorizer ?? defaultVectorizer;
  const state =
    "texts" in train ? ("idf" in given ? given : fitVectorizer(train.texts, given)) : null;
  const dataset: Dataset = {
    train: await finish(folder, "trn", train, state, source),
    test: test === null ? null : await finish(folder, "tst", test, state, source),
    labelTexts: texts,
    vectorizer: state,
  };
  for (const what of ["features", "labels"] as const) {
    const other = dataset.test?.[what].cols ?? dataset.train[what].cols;
    if (other !== dataset.train[what].cols)
      throw new MillraceError(
        "DATASET_INVALID",
        `training has ${dataset.train[what].cols} ${what}, test ${other}`,
      );
  }
  return dataset;
}

async function finish(
  folder: string,
  part: Part,
  raw: Raw,
  state: VectorizerState | null,
  source: FeatureSource,
): Promise<Split> {
  // Rates and initial values of the recipes are for rows of norm 1; vectors of another encoder stay as they are.
  const features =
    "texts" in raw
      ? vectorize(state as VectorizerState, raw.texts)
      : source === "vectors"
        ? raw.features
        : normalizeRows(raw.features);
  const file = find(folder, filterNames[part]);
  return {
    features,
    labels: raw.labels,
    filter: file === null ? null : await readFilter(file, raw.labels.rows, raw.labels.cols),
  };
}

async function readLabelTexts(folder: string): Promise<readonly string[] | null> {
  const plain = find(folder, ["Y.txt"]);
  if (plain !== null) return readTexts(plain);
  const json = find(folder, ["lbl.json"]);
  return json === null ? null : (await readJsonLines(json, null)).texts;
}

function noDataset(folder: string): MillraceError {
  const names = readdirSync(folder);
  const near = suggestion("trn_X_Y.txt", names);
  return new MillraceError("FILE_UNREADABLE", `${folder} holds no training data in a known form`, {
    hint: `expected trn.txt, trn_X_Xf.txt + trn_X_Y.txt, trn_X.txt + trn_X_Y.txt, or trn.json.gz + lbl.json.gz${near === null || near === undefined ? "" : `; ${near}`}`,
  });
}
