/**
 * Element types of tensors. Quantised types store blocks of elements; rows always hold whole blocks. The table is compared
 * with the loaded library at start.
 */

/** Type: [ggml id, elements per block, bytes per block]. */
export const tensorTypes = {
  f32: [0, 1, 4],
  f16: [1, 1, 2],
  q4_0: [2, 32, 18],
  q4_1: [3, 32, 20],
  q5_0: [6, 32, 22],
  q5_1: [7, 32, 24],
  q8_0: [8, 32, 34],
  q8_1: [9, 32, 36],
  q2_K: [10, 256, 84],
  q3_K: [11, 256, 110],
  q4_K: [12, 256, 144],
  q5_K: [13, 256, 176],
  q6_K: [14, 256, 210],
  q8_K: [15, 256, 292],
  iq2_xxs: [16, 256, 66],
  iq2_xs: [17, 256, 74],
  iq3_xxs: [18, 256, 98],
  iq1_s: [19, 256, 50],
  iq4_nl: [20, 32, 18],
  iq3_s: [21, 256, 110],
  iq2_s: [22, 256, 82],
  iq4_xs: [23, 256, 136],
  i8: [24, 1, 1],
  i16: [25, 1, 2],
  i32: [26, 1, 4],
  i64: [27, 1, 8],
  f64: [28, 1, 8],
  iq1_m: [29, 256, 56],
  bf16: [30, 1, 2],
  tq1_0: [34, 256, 54],
  tq2_0: [35, 256, 66],
  mxfp4: [39, 32, 17],
  nvfp4: [40, 64, 36],
  q1_0: [41, 128, 18],
  q2_0: [42, 64, 18],
} as const satisfies Record<string, readonly [number, number, number]>;

export type TensorType = keyof typeof tensorTypes;

const byId = new Map<number, TensorType>(
  (Object.keys(tensorTypes) as TensorType[]).map((type) => [tensorTypes[type][0], type]),
);

/** ggml's number of a type. */
export function typeId(type: TensorType): number {
  return tensorTypes[type][0];
}

/** The type with ggml's number `id`, if this version knows it. */
export function typeOfId(id: number): TensorType | undefined {
  return byId.get(id);
}

/** Elements per block; 1 for types that are not quantised. */
export function blockElements(type: TensorType): number {
  return tensorTypes[type][1];
}

/** Bytes per block. */
export function blockBytes(type: TensorType): number {
  return tensorTypes[type][2];
}

/** Bytes of a row of `elements` (a multiple of the block). */
export function rowBytes(type: TensorType, elements: number): number {
  return (elements / tensorTypes[type][1]) * tensorTypes[type][2];
}

/** True for types whose elements are packed in blocks. */
export function isQuantized(type: TensorType): boolean {
  return tensorTypes[type][1] > 1;
}
