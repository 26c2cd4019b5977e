/** Takes an item's bytes apart as its format says: the payload for the transform, and the label where it is inside. */
import { crc32c, masked } from "../source/crc32c.ts";
import type { RecordCodec } from "../source/source.ts";
import { readTfExample } from "./tf-example.ts";

export interface Unpacked {
  readonly payload: Uint8Array;
  readonly label: number;
}

/** Throws Error with the reason when the record is malformed. The payload may share memory with the bytes. */
export function unpack(codec: RecordCodec, bytes: Uint8Array, label: number): Unpacked {
  switch (codec.kind) {
    case "raw":
      return { payload: bytes, label };
    case "json":
      return {
        payload: bytes,
        label: codec.label === undefined ? label : jsonLabel(bytes, codec.label),
      };
    case "tf-example": {
      const record = codec.checksum === true ? checkedRecord(bytes) : bytes;
      const found = readTfExample(record, codec.payload, codec.label);
      return { payload: found.payload, label: found.label ?? label };
    }
    case "mds":
      return unpackMds(codec, bytes, label);
  }
}

/** The record before its checksum. Throws Error when they do not agree. */
function checkedRecord(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - 4;
  if (end < 0) throw new Error("the record ends before its checksum");
  const record = bytes.subarray(0, end);
  const view = new DataView(bytes.buffer, bytes.byteOffset + end, 4);
  if (masked(crc32c(record)) !== view.getUint32(0, true))
    throw new Error("the record does not agree with its checksum");
  return record;
}

function jsonLabel(bytes: Uint8Array, field: string): number {
  const record: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  const value =
    typeof record === "object" && record !== null
      ? (record as Record<string, unknown>)[field]
      : undefined;
  if (!Number.isInteger(value))
    throw new Error(`the field ${field} is ${JSON.stringify(value)}, no label`);
  return value as number;
}

/** Sizes of the columns of variable size (u32 each), then the columns in order. */
function unpackMds(
  codec: RecordCodec & { readonly kind: "mds" },
  bytes: Uint8Array,
  label: number,
): Unpacked {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const variable = codec.columns.filter((column) => column.bytes === null).length;
  let at = 4 * variable;
  let size = 0;
  let payload: Uint8Array | null = null;
  let found = label;
  codec.columns.forEach(({ encoding, bytes: fixed }, i) => {
    const n = fixed ?? view.getUint32(4 * size++, true);
    if (at + n > bytes.length) throw new Error(`column ${i} of the record ends behind it`);
    if (i === codec.payload) payload = bytes.subarray(at, at + n);
    if (i === codec.label) found = mdsInteger(view, at, n, encoding);
    at += n;
  });
  if (payload === null || at !== bytes.length)
    throw new Error(`the record has ${bytes.length} bytes, its columns ${at}`);
  return { payload, label: found };
}

function mdsInteger(view: DataView, at: number, bytes: number, encoding: string): number {
  const read: Readonly<Record<string, () => number>> = {
    int: () => Number(view.getBigInt64(at, true)),
    int8: () => view.getInt8(at),
    int16: () => view.getInt16(at, true),
    int32: () => view.getInt32(at, true),
    int64: () => Number(view.getBigInt64(at, true)),
    uint8: () => view.getUint8(at),
    uint16: () => view.getUint16(at, true),
    uint32: () => view.getUint32(at, true),
    uint64: () => Number(view.getBigUint64(at, true)),
  };
  const value = read[encoding];
  if (value === undefined) throw new Error(`a label of encoding ${encoding} and ${bytes} bytes`);
  return value();
}
