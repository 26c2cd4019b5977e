/**
 * A reader of ONNX files, as much as planning needs: nodes, shapes, attributes and small constants. Weights are skipped
 * where they stand and external data is never opened. Sizes are limited before anything is allocated for them.
 */
import { isAbsolute, normalize, sep } from "node:path";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { MillraceError } from "@millrace/core";

/** A tensor of the file. */
export interface OnnxTensor {
  readonly name: string;
  readonly dims: readonly number[];
  /** ONNX element type: 1 float, 7 int64, 10 float16, 16 bfloat16. */
  readonly type: number;
  /** Values of small integer and float tensors; null where they were skipped. */
  readonly values: readonly number[] | null;
}

/** An attribute; the fields that it does not have are empty. */
export interface OnnxAttribute {
  readonly name: string;
  readonly f: number;
  readonly i: number;
  readonly s: string;
  readonly floats: readonly number[];
  readonly ints: readonly number[];
  readonly tensor: OnnxTensor | null;
}

/** A node with the offset of its bytes in the file. */
export interface OnnxNode {
  readonly name: string;
  readonly type: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
  readonly offset: number;
}

/** A graph input: a dimension is a number or the name of a symbol ("" when it has none). */
export interface OnnxInput {
  readonly name: string;
  readonly type: number;
  readonly dims: readonly (number | string)[];
}

/** A model. */
export interface OnnxModel {
  readonly graph: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, OnnxTensor>;
  readonly inputs: readonly OnnxInput[];
  readonly outputs: readonly string[];
}

const limits = { nodes: 100_000, tensors: 200_000, dims: 8, values: 4096, text: 4096 } as const;

/** Reads fields of one message; `take` returns false to skip a field. */
type Fields = (field: number, wire: WireType) => boolean;

class OnnxReader {
  private readonly reader: BinaryReader;
  private readonly file: string;
  private nodes = 0;
  private tensors = 0;

  constructor(bytes: Uint8Array, file: string) {
    this.reader = new BinaryReader(bytes);
    this.file = file;
  }

  fail(message: string): MillraceError {
    // A reader that ran past the end stands beyond it.
    const at = Math.min(this.reader.pos, this.reader.len);
    return new MillraceError("GRAPH_INVALID", `${message} (byte ${at})`, {
      at: { file: this.file },
    });
  }

  /** A message from here to `end`. */
  message(end: number, take: Fields): void {
    const { reader } = this;
    if (end > reader.len) throw this.fail("a message is longer than the file");
    while (reader.pos < end) {
      const [field, wire] = reader.tag();
      if (!take(field, wire)) reader.skip(wire, field);
      if (reader.pos > end) throw this.fail("a field is longer than its message");
    }
  }

  /** The end of a length-delimited field that starts here. */
  private span(): number {
    const length = this.reader.uint32();
    const end = this.reader.pos + length;
    if (end > this.reader.len) throw this.fail(`a field of ${length} bytes passes the end`);
    return end;
  }

  private text(): string {
    const end = this.span();
    const length = end - this.reader.pos;
    if (length > limits.text) throw this.fail(`a name of ${length} bytes`);
    this.reader.pos -= lengthOfVarint(length);
    return this.reader.string();
  }

  private integer(): number {
    const value = Number(this.reader.int64());
    if (!Number.isSafeInteger(value)) throw this.fail(`the number ${value}`);
    return value;
  }

  /** Packed or single integers. */
  private integers(wire: WireType, into: number[], most: number): void {
    const push = (): void => {
      if (into.length >= most) throw this.fail(`more than ${most} numbers`);
      into.push(this.integer());
    };
    if (wire === WireType.LengthDelimited) {
      const end = this.span();
      while (this.reader.pos < end) push();
    } else push();
  }

  private floats(wire: WireType, into: number[], most: number): void {
    const push = (): void => {
      if (into.length >= most) throw this.fail(`more than ${most} numbers`);
      into.push(this.reader.float());
    };
    if (wire === WireType.LengthDelimited) {
      const end = this.span();
      while (this.reader.pos < end) push();
    } else push();
  }

  tensor(): OnnxTensor {
    if (++this.tensors > limits.tensors) throw this.fail(`more than ${limits.tensors} tensors`);
    const dims: number[] = [];
    const integers: number[] = [];
    const floats: number[] = [];
    let name = "";
    let type = 0;
    let raw: Uint8Array | null = null;
    let external = false;
    const small = limits.values;
    this.message(this.span(), (field, wire) => {
      if (field === 1) this.integers(wire, dims, limits.dims);
      else if (field === 2) type = this.integer();
      else if (field === 8) name = this.text();
      else if (field === 13) external = this.externalEntry() || external;
      else if (field === 9) {
        const end = this.span();
        const length = end - this.reader.pos;
        // Weights are passed over: only constants that can be shapes or scales are looked at.
        if (length <= 8 * small) raw = this.bytes(end);
        else this.reader.pos = end;
      } else if ((field === 4 || field === 5 || field === 7) && wire === WireType.LengthDelimited) {
        const end = this.span();
        if (end - this.reader.pos > 8 * small) this.reader.pos = end;
        else if (field === 4) while (this.reader.pos < end) floats.push(this.reader.float());
        else while (this.reader.pos < end) integers.push(this.integer());
      } else return false;
      return true;
    });
    if (dims.some((d) => d < 0 || d > 2 ** 40)) throw this.fail(`tensor ${name} of shape ${dims}`);
    const values =
      integers.length > 0
        ? integers
        : floats.length > 0
          ? floats
          : raw === null || external
            ? null
            : valuesOf(raw, type);
    return { name, dims, type, values };
  }

  private bytes(end: number): Uint8Array {
    const start = this.reader.pos;
    this.reader.pos = start;
    const copy = new Uint8Array(end - start);
    for (let i = 0; i < copy.length; i++) copy[i] = this.byteAt(start + i);
    this.reader.pos = end;
    return copy;
  }

  private byteAt(at: number): number {
    return (this.reader as unknown as { buf: Uint8Array }).buf[at] as number;
  }

  /** A key and value of external data: its file is never opened, but a path out of the folder is refused all the same. */
  private externalEntry(): boolean {
    let key = "";
    let value = "";
    this.message(this.span(), (field) => {
      if (field === 1) key = this.text();
      else if (field === 2) value = this.text();
      else return false;
      return true;
    });
    if (key !== "location") return false;
    const path = normalize(value.replaceAll("\\", "/"));
    if (
      isAbsolute(path) ||
      /^[A-Za-z]:/.test(value) ||
      path === ".." ||
      path.startsWith(`..${sep}`)
    )
      throw new MillraceError(
        "GRAPH_INVALID",
        `external data at ${JSON.stringify(value)} is outside the model's folder`,
        { at: { file: this.file }, hint: "export the model with its data beside it" },
      );
    return true;
  }

  attribute(): OnnxAttribute {
    const floats: number[] = [];
    const ints: number[] = [];
    let name = "";
    let f = 0;
    let i = 0;
    let s = "";
    let tensor: OnnxTensor | null = null;
    this.message(this.span(), (field, wire) => {
      if (field === 1) name = this.text();
      else if (field === 2) f = this.reader.float();
      else if (field === 3) i = this.integer();
      else if (field === 4) s = this.text();
      else if (field === 5) tensor = this.tensor();
      else if (field === 7) this.floats(wire, floats, limits.values);
      else if (field === 8) this.integers(wire, ints, limits.values);
      else return false;
      return true;
    });
    return { name, f, i, s, floats, ints, tensor };
  }

  node(): OnnxNode {
    if (++this.nodes > limits.nodes) throw this.fail(`more than ${limits.nodes} nodes`);
    const offset = this.reader.pos;
    const inputs: string[] = [];
    const outputs: string[] = [];
    const attributes = new Map<string, OnnxAttribute>();
    let name = "";
    let type = "";
    this.message(this.span(), (field) => {
      if (field === 1) inputs.push(this.text());
      else if (field === 2) outputs.push(this.text());
      else if (field === 3) name = this.text();
      else if (field === 4) type = this.text();
      else if (field === 5) {
        const attribute = this.attribute();
        attributes.set(attribute.name, attribute);
      } else return false;
      return true;
    });
    return {
      name: name === "" ? (outputs[0] ?? type) : name,
      type,
      inputs,
      outputs,
      attributes,
      offset,
    };
  }

  private valueInfo(): OnnxInput {
    let name = "";
    let type = 0;
    const dims: (number | string)[] = [];
    const shape: Fields = (field) => {
      if (field !== 1) return false;
      if (dims.length >= limits.dims) throw this.fail(`more than ${limits.dims} dimensions`);
      let dim: number | string = "";
      this.message(this.span(), (part) => {
        if (part === 1) dim = this.integer();
        else if (part === 2) dim = this.text();
        else return false;
        return true;
      });
      dims.push(dim);
      return true;
    };
    this.message(this.span(), (field) => {
      if (field === 1) name = this.text();
      else if (field === 2)
        this.message(this.span(), (kind) => {
          if (kind !== 1) return false;
          this.message(this.span(), (part) => {
            if (part === 1) type = this.integer();
            else if (part === 2) this.message(this.span(), shape);
            else return false;
            return true;
          });
          return true;
        });
      else return false;
      return true;
    });
    return { name, type, dims };
  }

  model(): OnnxModel {
    const nodes: OnnxNode[] = [];
    const initializers = new Map<string, OnnxTensor>();
    const inputs: OnnxInput[] = [];
    const outputs: string[] = [];
    let graph = "";
    let found = false;
    this.message(this.reader.len, (field) => {
      if (field !== 7) return false;
      found = true;
      this.message(this.span(), (part) => {
        if (part === 1) nodes.push(this.node());
        else if (part === 2) graph = this.text();
        else if (part === 5) {
          const tensor = this.tensor();
          initializers.set(tensor.name, tensor);
        } else if (part === 11) inputs.push(this.valueInfo());
        else if (part === 12) outputs.push(this.valueInfo().name);
        else return false;
        return true;
      });
      return true;
    });
    if (!found || nodes.length === 0) throw this.fail("no graph");
    return { graph, nodes, initializers, inputs, outputs };
  }
}

function lengthOfVarint(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** Little-endian values of small tensors. */
function valuesOf(raw: Uint8Array, type: number): number[] | null {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const read: Readonly<Record<number, readonly [number, (at: number) => number]>> = {
    1: [4, (at) => view.getFloat32(at, true)],
    6: [4, (at) => view.getInt32(at, true)],
    7: [8, (at) => Number(view.getBigInt64(at, true))],
    11: [8, (at) => view.getFloat64(at, true)],
  };
  const [size, get] = read[type] ?? [0, () => 0];
  if (size === 0 || raw.byteLength % size !== 0) return null;
  return Array.from({ length: raw.byteLength / size }, (_, i) => get(i * size));
}

/** Reads a model. Throws MillraceError GRAPH_INVALID with the byte where it stops making sense. */
export function readOnnx(bytes: Uint8Array, file: string): OnnxModel {
  const reader = new OnnxReader(bytes, file);
  try {
    return reader.model();
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    // The wire reader throws plain errors at truncated or senseless fields.
    throw Object.assign(reader.fail("this is no ONNX model: the bytes make no sense"), {
      cause: error,
    });
  }
}
