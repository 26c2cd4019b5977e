/**
 * The part of tf.Example (protocol buffers) that a loader reads: one bytes feature and one int64 feature. Hand-written, so
 * that nothing is allocated for the other features and every length is checked against the record.
 */

export interface TfExample {
  readonly payload: Uint8Array;
  readonly label: number | null;
}

/** Throws Error when the record is malformed or has no such bytes feature. */
export function readTfExample(
  bytes: Uint8Array,
  payloadName: string,
  labelName?: string,
): TfExample {
  let payload: Uint8Array | null = null;
  let label: number | null = null;
  // Example.features (1) holds Features.feature (1), a map of name (1) and Feature (2).
  for (const features of fields(bytes, 1))
    for (const entry of fields(features, 1)) {
      const name = Buffer.from(first(entry, 1) ?? new Uint8Array(0)).toString("utf8");
      const feature = first(entry, 2);
      if (feature === null) continue;
      if (name === payloadName) payload = first(first(feature, 1) ?? new Uint8Array(0), 1);
      else if (name === labelName) label = integer(first(feature, 3) ?? new Uint8Array(0));
    }
  if (payload === null) throw new Error(`the record has no bytes feature ${payloadName}`);
  return { payload, label };
}

/** The first value of an Int64List, packed or not. */
function integer(list: Uint8Array): number | null {
  if (list.length === 0) return null;
  const cursor = { at: 0 };
  const tag = varint(list, cursor);
  if (tag >>> 3 !== 1) return null;
  if ((tag & 7) === 2) varint(list, cursor);
  return varint(list, cursor);
}

function first(message: Uint8Array, field: number): Uint8Array | null {
  for (const value of fields(message, field)) return value;
  return null;
}

/** Length-delimited values of a field; others are passed over. */
function* fields(message: Uint8Array, wanted: number): Generator<Uint8Array> {
  const cursor = { at: 0 };
  while (cursor.at < message.length) {
    const tag = varint(message, cursor);
    const wire = tag & 7;
    if (wire === 0) varint(message, cursor);
    else if (wire === 1) cursor.at += 8;
    else if (wire === 5) cursor.at += 4;
    else if (wire === 2) {
      const length = varint(message, cursor);
      if (cursor.at + length > message.length)
        throw new Error("a field of the record ends behind it");
      if (tag >>> 3 === wanted) yield message.subarray(cursor.at, cursor.at + length);
      cursor.at += length;
    } else throw new Error(`wire type ${wire} in the record`);
  }
  if (cursor.at > message.length) throw new Error("a field of the record ends behind it");
}

/** Up to 2^53; larger and negative ones come out inexact, which no length or label is. */
function varint(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  for (let shift = 1, i = 0; i < 10; i++, shift *= 128) {
    const byte = bytes[cursor.at++];
    if (byte === undefined) throw new Error("the record ends inside a number");
    value += (byte & 127) * shift;
    if (byte < 128) return value;
  }
  throw new Error("a number of the record has more than 10 bytes");
}
