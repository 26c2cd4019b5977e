/** Layout of `struct ggml_tensor` (llama.cpp v0.5.0, 64-bit), checked at start by the self-test. Bytes. */
export const tensorStruct = {
  bytes: 336,
  /** Object header before each tensor in a context. */
  header: 32,
  type: 0,
  buffer: 8,
  ne: 16,
  nb: 48,
  op: 80,
  opParams: 84,
  flags: 148,
  src: 152,
  viewSrc: 232,
  viewOffs: 240,
  data: 248,
  name: 256,
  extra: 320,
} as const;

/** What one tensor takes of a context, bytes. */
export const tensorOverhead = tensorStruct.header + tensorStruct.bytes;
