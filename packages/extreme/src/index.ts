/**
 * Extreme classification that trains in sub-linear time (ASTRA, 2024): data sets, encoder, label classifiers, negatives from an
 * index over the classifier vectors, trainer, metrics, predictor.
 */
export {
  type ComparedTrainer,
  type CompareOptions,
  type Comparison,
  compareTrainers,
  median,
} from "./compare/compare.ts";
export { type ComparedRun, runOnce } from "./compare/one-run.ts";
export { compareReport } from "./compare/report.ts";
export { type Csr, CsrBuilder, columnCounts, normalizeRows, takeRows } from "./data/csr.ts";
export {
  type Dataset,
  type FeatureSource,
  type ReadDatasetOptions,
  readDataset,
  type Split,
} from "./data/dataset.ts";
export { catalogue, type DatasetManifest, fetchDataset, manifestOf } from "./data/fetch.ts";
export { readFilter } from "./data/filters.ts";
export { type Points, readMatrix, readOneFile, readPredictions } from "./data/sparse.ts";
export { readJsonLines, readTexts, type TextRows } from "./data/texts.ts";
export { writeMatrix, writeOneFile, writePredictions, writeTexts } from "./data/write.ts";
export { type Embedded, type EmbedOptions, embedDataset } from "./embed/embed-dataset.ts";
export { type Estimate, type EstimateInput, estimate } from "./estimate/estimate.ts";
export { measureRates, type Rates, referenceRates } from "./estimate/rates.ts";
export { calibrate, type IndexCheck, recallOf } from "./index/calibrate.ts";
export { createIndex, type IndexKind, indexKinds } from "./index/create.ts";
export { ExactIndex } from "./index/exact.ts";
export { IvfIndex, type IvfOptions, ivfOptionsFor } from "./index/ivf.ts";
export type { Found, LabelIndex, LabelsOf, SearchOptions } from "./index/label-index.ts";
export { type Block, floats, Heap, ints, type Kernels } from "./kernels/heap.ts";
export { LabelMatrix, type Precision } from "./kernels/label-matrix.ts";
export {
  type Decile,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type MetricsAt,
} from "./metrics/evaluate.ts";
export { type PercentMetrics, percentDepth, percentMetrics } from "./metrics/percent.ts";
export { inversePropensity, type PropensityModel, propensityModels } from "./metrics/propensity.ts";
export { type Ranking, rank, type TieOrder, TopK } from "./metrics/ranking.ts";
export { addLabels, type NewLabel, removeLabels } from "./model/edit-labels.ts";
export { loadModel, type StoredModel, saveModel, snapshotOf } from "./model/folder.ts";
export { createModel, type Model, type ModelShape } from "./model/model.ts";
export { predict } from "./model/predict.ts";
export { defaultIndexShare } from "./negatives/shortlists.ts";
export {
  Predictor,
  type PredictorOptions,
  type RankedLabel,
  rankedLabels,
} from "./serve/predictor.ts";
export { defaultServeOptions, ExtremeServer, type ServeOptions } from "./serve/server.ts";
export { type Generated, type GenerateOptions, generate } from "./synthetic/generate.ts";
export { type MadeData, type MakeOptions, makeData } from "./synthetic/splits.ts";
export {
  defaultVectorizer,
  fitVectorizer,
  type VectorizerOptions,
  type VectorizerState,
  vectorize,
} from "./text/vectorizer.ts";
export { withLabelTexts } from "./train/augment.ts";
export type { EpochReport } from "./train/epoch-report.ts";
export {
  defaultTrainOptions,
  type Preset,
  presetFor,
  presets,
  type Sampler,
  samplers,
  type TrainerName,
  type TrainOptions,
  trainerNames,
  trainers,
  trainOptionNames,
} from "./train/options.ts";
export { type PointBatch, PointSource } from "./train/point-source.ts";
export {
  type RunEpoch,
  type RunOptions,
  type RunProgress,
  type RunResult,
  trainModel,
} from "./train/run.ts";
export { ExtremeTrainable } from "./train/trainable.ts";
export { Trainer } from "./train/trainer.ts";
