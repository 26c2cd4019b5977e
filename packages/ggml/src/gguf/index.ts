export { Gguf, type GgufTensor, openGguf } from "./gguf.ts";
export { type MadeType, type ModelChoice, madeTypes, makeModel } from "./make/make-model.ts";
export {
  type Family,
  type FamilyName,
  families,
  type Geometry,
  type PresetName,
  presets,
} from "./make/presets.ts";
export { vocabularyMetadata } from "./make/vocabulary.ts";
export { Metadata, type Scalar, type ValueType } from "./metadata.ts";
export { type ModelInfo, modelInfo } from "./model-info.ts";
export { type GgufHeader, parseGguf, type TensorRecord } from "./parse.ts";
export {
  type TensorType,
  type TensorTypeLayout,
  tensorBytes,
  tensorTypeOf,
  tensorTypes,
} from "./tensor-types.ts";
export { type Encoder, encoder } from "./write/encode.ts";
export { fromHalf, toBfloat, toHalf } from "./write/half.ts";
export type { MetadataValue, MetadataValues, TensorPlan } from "./write/header.ts";
export { type TensorSource, type WrittenGguf, writeGguf } from "./write/write-gguf.ts";
