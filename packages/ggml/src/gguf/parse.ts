/**
 * The header of one GGUF file, versions 2 and 3: metadata, then names, shapes, formats and offsets of the tensors.
 * Pure; every count, size and offset is checked against the file, since files come from anywhere.
 */
import { Cursor } from "./cursor.ts";
import { invalidGguf } from "./invalid.ts";
import { Metadata } from "./metadata.ts";
import { type TensorType, tensorBytes, tensorTypeOf, tensorTypes } from "./tensor-types.ts";

/** A tensor as the header describes it. */
export interface TensorRecord {
  readonly name: string;
  readonly type: TensorType;
  /** Elements along each dimension, the fastest first; 1 to 4 of them. */
  readonly shape: readonly number[];
  readonly elements: number;
  readonly bytes: number;
  /** Where the data begin in the file. */
  readonly offset: number;
}

/** What a file's header says. */
export interface GgufHeader {
  readonly version: number;
  /** Power of two that the data offsets are multiples of. */
  readonly alignment: number;
  readonly metadata: Metadata;
  readonly tensors: readonly TensorRecord[];
  /** Where the data of all tensors begin. */
  readonly dataOffset: number;
}

const magic = 0x46554747;
/** Least bytes of a pair: key length, one letter, type, a byte. */
const leastPair = 14;
/** Least bytes of a tensor: name length, dimensions, type, offset. */
const leastTensor = 24;
/** ggml keeps names in 64 bytes with a zero at the end. */
const longestName = 63;

/**
 * Parses the beginning of a file. `head` must hold the header; `fileBytes` is the size of the whole file. Throws
 * MillraceError GGUF_INVALID naming file, offset and value.
 */
export function parseGguf(path: string, head: DataView, fileBytes: number): GgufHeader {
  const cursor = new Cursor(path, head);
  if (head.byteLength < 4 || head.getUint32(0, true) !== magic)
    throw invalidGguf(
      path,
      0,
      `the file begins with ${firstBytes(head)}, not with "GGUF"`,
      "name a model in GGUF format; models of other formats are converted with llama.cpp's convert_hf_to_gguf.py",
    );
  cursor.offset = 4;
  const version = readVersion(cursor);
  const tensorsAt = cursor.offset;
  const tensorCount = cursor.count(leastTensor, "the number of tensors");
  const pairs = cursor.count(leastPair, "the number of metadata keys");
  const metadata = new Metadata(cursor, pairs);
  const alignment = readAlignment(path, metadata);
  if (tensorCount * leastTensor > cursor.left)
    throw invalidGguf(
      path,
      tensorsAt,
      `${tensorCount} tensors are announced, but only ${cursor.left} bytes follow the metadata`,
    );
  const records: (TensorRecord & { readonly at: number })[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const record = readTensor(cursor, i, alignment);
    if (names.has(record.name))
      throw invalidGguf(path, record.at, `tensor ${record.name} stands there twice`);
    names.add(record.name);
    records.push(record);
  }
  const dataOffset = Math.ceil(cursor.offset / alignment) * alignment;
  const tensors = records.map(({ at: _, ...record }) => ({
    ...record,
    offset: record.offset + dataOffset,
  }));
  checkPlaces(path, tensors, fileBytes);
  return { version, alignment, metadata, tensors, dataOffset };
}

function firstBytes(head: DataView): string {
  const bytes = new Uint8Array(head.buffer, head.byteOffset, Math.min(4, head.byteLength));
  return JSON.stringify(Buffer.from(bytes).toString("latin1"));
}

function readVersion(cursor: Cursor): number {
  const version = cursor.u32("the version");
  if (version === 2 || version === 3) return version;
  const swapped = (version & 0xffff) === 0 && version !== 0;
  throw invalidGguf(
    cursor.path,
    4,
    swapped ? "the file is big-endian" : `the version is ${version}; 2 and 3 can be read`,
    "convert the model again with a current converter",
  );
}

function readAlignment(path: string, metadata: Metadata): number {
  const alignment = metadata.number("general.alignment", 32);
  if (alignment >= 8 && alignment <= 2 ** 24 && Number.isInteger(Math.log2(alignment)))
    return alignment;
  throw invalidGguf(
    path,
    null,
    `general.alignment is ${alignment}, not a power of two between 8 and 16 MiB`,
  );
}

function readTensor(
  cursor: Cursor,
  index: number,
  alignment: number,
): TensorRecord & { readonly at: number } {
  const at = cursor.offset;
  const { path } = cursor;
  const name = cursor.string(`name of tensor ${index}`);
  if (name === "" || Buffer.byteLength(name) > longestName)
    throw invalidGguf(
      path,
      at,
      `the name of tensor ${index} has ${Buffer.byteLength(name)} bytes; 1 to ${longestName} are allowed`,
    );
  const dimensionsAt = cursor.offset;
  const dimensions = cursor.u32(`dimensions of ${name}`);
  if (dimensions < 1 || dimensions > 4)
    throw invalidGguf(
      path,
      dimensionsAt,
      `${name} has ${dimensions} dimensions; 1 to 4 are allowed`,
    );
  const shape: number[] = [];
  let elements = 1;
  for (let i = 0; i < dimensions; i++) {
    const sizeAt = cursor.offset;
    const size = cursor.u64(`shape of ${name}`);
    elements *= size;
    if (size < 1 || elements > Number.MAX_SAFE_INTEGER / 8)
      throw invalidGguf(path, sizeAt, `dimension ${i} of ${name} is ${size}, which cannot be`);
    shape.push(size);
  }
  const typeAt = cursor.offset;
  const id = cursor.u32(`format of ${name}`);
  const type = tensorTypeOf(id);
  if (type === undefined)
    throw invalidGguf(
      path,
      typeAt,
      `${name} has number format ${id}, which is not known`,
      "the file was made by a newer or a very old converter; take another quantisation of the model",
    );
  const { block } = tensorTypes[type];
  if ((shape[0] ?? 0) % block !== 0)
    throw invalidGguf(
      path,
      dimensionsAt + 4,
      `${name} has rows of ${shape[0]} values, which are no whole blocks of ${block} (${type})`,
    );
  const offsetAt = cursor.offset;
  const offset = cursor.u64(`offset of ${name}`);
  if (offset % alignment !== 0)
    throw invalidGguf(path, offsetAt, `${name} begins at ${offset}, no multiple of ${alignment}`);
  return { name, type, shape, elements, bytes: tensorBytes(type, elements), offset, at };
}

/** Every tensor lies inside the file and in no other. */
function checkPlaces(path: string, tensors: readonly TensorRecord[], fileBytes: number): void {
  const inOrder = [...tensors].sort((a, b) => a.offset - b.offset);
  let before: TensorRecord | undefined;
  for (const tensor of inOrder) {
    const end = tensor.offset + tensor.bytes;
    if (end > fileBytes)
      throw invalidGguf(
        path,
        tensor.offset,
        `${tensor.name} ends at ${end}, but the file at ${fileBytes}`,
        "the file is not complete: download it again",
      );
    if (before !== undefined && before.offset + before.bytes > tensor.offset)
      throw invalidGguf(path, tensor.offset, `${tensor.name} overlaps ${before.name}`);
    before = tensor;
  }
}
