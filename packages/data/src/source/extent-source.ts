/** The one implementation of Source: columns of extents over a list of files; formats differ in how they fill them. */
import { hash128, InvariantError, MillraceError } from "@millrace/core";
import type { Extent, RecordCodec, Source, SourceKind } from "./source.ts";

/** A file of a data set, as it was when the data set was opened. */
export interface SourceFile {
  /** Absolute. */
  readonly path: string;
  /** Relative to the data set: for messages, and the part of the key that survives moving the data set. */
  readonly name: string;
  readonly bytes: number;
  readonly mtimeMs: number;
}

/** Columns of a data set under construction; grows by `add`. */
export class ExtentList {
  readonly files: SourceFile[] = [];
  file = new Uint32Array(1024);
  offset = new Float64Array(1024);
  bytes = new Uint32Array(1024);
  label = new Int32Array(1024);
  length = 0;

  /** Adds an item of the file that was pushed last, unless told otherwise. Throws DATA_INVALID outside the file. */
  add(offset: number, bytes: number, label = -1, file = this.files.length - 1): void {
    const { name, path, bytes: size } = this.files[file] as SourceFile;
    if (offset < 0 || bytes < 0 || !Number.isSafeInteger(offset + bytes) || offset + bytes > size)
      throw new MillraceError(
        "DATA_INVALID",
        `${name}: item ${this.length} claims bytes ${offset} … ${offset + bytes} of a file of ${size}`,
        {
          at: { file: path },
          hint: "the file or its index is damaged or belongs to another version",
        },
      );
    if (bytes > 0xffffffff)
      throw new MillraceError("DATA_INVALID", `${name}: an item of ${bytes} bytes is too large`);
    if (this.length === this.file.length) this.grow();
    this.file[this.length] = file;
    this.offset[this.length] = offset;
    this.bytes[this.length] = bytes;
    this.label[this.length] = label;
    this.length++;
  }

  private grow(): void {
    const wider = <A extends Uint32Array | Float64Array | Int32Array>(from: A, to: A): A => {
      to.set(from);
      return to;
    };
    const n = 2 * this.length;
    this.file = wider(this.file, new Uint32Array(n));
    this.offset = wider(this.offset, new Float64Array(n));
    this.bytes = wider(this.bytes, new Uint32Array(n));
    this.label = wider(this.label, new Int32Array(n));
  }
}

/** How a format presents its list. */
export interface ExtentSourceOptions {
  readonly kind: SourceKind;
  readonly path: string;
  readonly list: ExtentList;
  readonly classes?: readonly string[];
  readonly codec?: RecordCodec;
  /** Name of an item; by default its file, and its number there when the file has several. */
  readonly name?: (item: number) => string;
}

/** Throws MillraceError DATA_INVALID when the list is empty. */
export class ExtentSource implements Source {
  readonly kind: SourceKind;
  readonly path: string;
  readonly length: number;
  readonly totalBytes: number;
  readonly classes: readonly string[];
  readonly codec: RecordCodec;
  readonly identity: string;
  private readonly list: ExtentList;
  private readonly keys: Uint32Array;
  private readonly naming: ((item: number) => string) | undefined;

  constructor(options: ExtentSourceOptions) {
    const { kind, path, list, classes = [], codec = { kind: "raw" }, name } = options;
    if (list.length === 0)
      throw new MillraceError("DATA_INVALID", `${path} holds no items of the form ${kind}`, {
        at: { file: path },
        hint: "name the folder or shard that holds the samples; `millrace data inspect PATH` says what is seen",
      });
    this.kind = kind;
    this.path = path;
    this.list = list;
    this.length = list.length;
    this.classes = classes;
    this.codec = codec;
    this.naming = name;
    this.keys = new Uint32Array(2 * list.length);
    let total = 0;
    let digest = hash128(`${kind} ${list.length}`);
    for (let i = 0; i < list.length; i++) {
      const f = list.files[list.file[i] as number] as SourceFile;
      const bytes = list.bytes[i] as number;
      const [a, b] = hash128(`${f.name}\n${f.bytes} ${f.mtimeMs} ${list.offset[i]} ${bytes}`);
      // Caches tell an empty slot by a key of zeros.
      this.keys[2 * i] = a === 0 && b === 0 ? 1 : a;
      this.keys[2 * i + 1] = b;
      total += bytes;
      if (i % 64 === 63 || i === list.length - 1)
        digest = hash128(`${digest.join()} ${this.keys.subarray(2 * (i - (i % 64)), 2 * i + 2)}`);
    }
    this.totalBytes = total;
    this.identity = digest.map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  extent(item: number): Extent {
    const i = this.check(item);
    const file = this.list.files[this.list.file[i] as number] as SourceFile;
    const offset = this.list.offset[i] as number;
    const bytes = this.list.bytes[i] as number;
    return { path: file.path, offset, bytes, whole: bytes === file.bytes };
  }

  label(item: number): number {
    return this.list.label[this.check(item)] as number;
  }

  name(item: number): string {
    const i = this.check(item);
    if (this.naming !== undefined) return this.naming(i);
    const file = this.list.files[this.list.file[i] as number] as SourceFile;
    const whole = this.list.offset[i] === 0 && this.list.bytes[i] === file.bytes;
    return whole ? file.name : `${file.name} (item ${i}, byte ${this.list.offset[i]})`;
  }

  key(item: number): readonly [number, number] {
    const i = this.check(item);
    return [this.keys[2 * i] as number, this.keys[2 * i + 1] as number];
  }

  private check(item: number): number {
    if (!Number.isInteger(item) || item < 0 || item >= this.length)
      throw new InvariantError(`item ${item} of ${this.length}`);
    return item;
  }
}
