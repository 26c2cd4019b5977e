/** The number formats of tensors in a GGUF file, as ggml stores them: blocks of values with shared scales. */

/** How a format packs its values: `block` values take `bytes` bytes. */
export interface TensorTypeLayout {
  readonly id: number;
  readonly block: number;
  readonly bytes: number;
}

/** Formats by ggml's names; ids as in the file. Block sizes follow from ggml-common.h of the bound version. */
export const tensorTypes = {
  f32: { id: 0, block: 1, bytes: 4 },
  f16: { id: 1, block: 1, bytes: 2 },
  q4_0: { id: 2, block: 32, bytes: 18 },
  q4_1: { id: 3, block: 32, bytes: 20 },
  q5_0: { id: 6, block: 32, bytes: 22 },
  q5_1: { id: 7, block: 32, bytes: 24 },
  q8_0: { id: 8, block: 32, bytes: 34 },
  q8_1: { id: 9, block: 32, bytes: 36 },
  q2_K: { id: 10, block: 256, bytes: 84 },
  q3_K: { id: 11, block: 256, bytes: 110 },
  q4_K: { id: 12, block: 256, bytes: 144 },
  q5_K: { id: 13, block: 256, bytes: 176 },
  q6_K: { id: 14, block: 256, bytes: 210 },
  q8_K: { id: 15, block: 256, bytes: 292 },
  iq2_xxs: { id: 16, block: 256, bytes: 66 },
  iq2_xs: { id: 17, block: 256, bytes: 74 },
  iq3_xxs: { id: 18, block: 256, bytes: 98 },
  iq1_s: { id: 19, block: 256, bytes: 50 },
  iq4_nl: { id: 20, block: 32, bytes: 18 },
  iq3_s: { id: 21, block: 256, bytes: 110 },
  iq2_s: { id: 22, block: 256, bytes: 82 },
  iq4_xs: { id: 23, block: 256, bytes: 136 },
  i8: { id: 24, block: 1, bytes: 1 },
  i16: { id: 25, block: 1, bytes: 2 },
  i32: { id: 26, block: 1, bytes: 4 },
  i64: { id: 27, block: 1, bytes: 8 },
  f64: { id: 28, block: 1, bytes: 8 },
  iq1_m: { id: 29, block: 256, bytes: 56 },
  bf16: { id: 30, block: 1, bytes: 2 },
  tq1_0: { id: 34, block: 256, bytes: 54 },
  tq2_0: { id: 35, block: 256, bytes: 66 },
  mxfp4: { id: 39, block: 32, bytes: 17 },
  nvfp4: { id: 40, block: 64, bytes: 36 },
  q1_0: { id: 41, block: 128, bytes: 18 },
  q2_0: { id: 42, block: 64, bytes: 18 },
} as const satisfies Readonly<Record<string, TensorTypeLayout>>;

export type TensorType = keyof typeof tensorTypes;

const byId = new Map<number, TensorType>(
  Object.entries(tensorTypes).map(([name, { id }]) => [id, name as TensorType]),
);

/** The format of an id in a file; undefined for ids that are not in use. */
export function tensorTypeOf(id: number): TensorType | undefined {
  return byId.get(id);
}

/** Bytes of `elements` values, which must be whole blocks. */
export function tensorBytes(type: TensorType, elements: number): number {
  const { block, bytes } = tensorTypes[type];
  return (elements / block) * bytes;
}
