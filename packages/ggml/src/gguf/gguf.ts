/** Model files in memory: the header parsed, the tensors mapped where they lie, the parts of a split model joined. */
import { basename, dirname, join, resolve } from "node:path";
import { InvariantError } from "@millrace/core";
import { type MappedFile, mapFile, maxViewBytes } from "@millrace/system";
import { invalidGguf } from "./invalid.ts";
import type { Metadata } from "./metadata.ts";
import { type GgufHeader, parseGguf, type TensorRecord } from "./parse.ts";

/** A tensor of an open file. */
export interface GgufTensor extends TensorRecord {
  /** Which part of a split model holds it, from 0. */
  readonly part: number;
}

interface Part {
  readonly header: GgufHeader;
  readonly mapped: MappedFile;
}

/**
 * An open model. Addresses and views are valid until disposal; the tensors are the file's own pages, so opening costs
 * milliseconds and no memory. Data begin at multiples of the file's alignment (32 as a rule).
 */
export class Gguf implements Disposable {
  /** Absolute path of the (first) file. */
  readonly path: string;
  readonly metadata: Metadata;
  readonly tensors: readonly GgufTensor[];
  readonly version: number;
  readonly alignment: number;
  /** Bytes of all files. */
  readonly fileBytes: number;
  private readonly parts: readonly Part[];
  private readonly byName: ReadonlyMap<string, GgufTensor>;

  /** Use `openGguf`. */
  constructor(path: string, first: Part, rest: readonly Part[]) {
    this.path = path;
    this.parts = [first, ...rest];
    this.metadata = first.header.metadata;
    this.version = first.header.version;
    this.alignment = first.header.alignment;
    this.fileBytes = this.parts.reduce((sum, part) => sum + part.mapped.bytes, 0);
    this.tensors = this.parts.flatMap(({ header }, part) =>
      header.tensors.map((tensor) => ({ ...tensor, part })),
    );
    this.byName = new Map(this.tensors.map((tensor) => [tensor.name, tensor]));
  }

  /** Number of files the model consists of. */
  get partCount(): number {
    return this.parts.length;
  }

  /** Mapped files, for buffers over their memory. */
  get files(): readonly MappedFile[] {
    return this.parts.map((part) => part.mapped);
  }

  tensor(name: string): GgufTensor | undefined {
    return this.byName.get(name);
  }

  /** Address of a tensor's first byte. */
  address(tensor: GgufTensor): bigint {
    return this.mapped(tensor).address + BigInt(tensor.offset);
  }

  /** The bytes of a tensor, read-only and without a copy; at most maxViewBytes. */
  data(tensor: GgufTensor): Uint8Array {
    return new Uint8Array(this.mapped(tensor).view(tensor.offset, tensor.bytes));
  }

  [Symbol.dispose](): void {
    for (const part of this.parts) part.mapped[Symbol.dispose]();
  }

  private mapped(tensor: GgufTensor): MappedFile {
    const part = this.parts[tensor.part];
    if (part === undefined) throw new InvariantError(`no part ${tensor.part} of ${this.path}`);
    return part.mapped;
  }
}

/**
 * Opens a model for reading; of a split model (`…-00001-of-0000N.gguf`) the first part is named and the others lie
 * beside it. Throws MillraceError FILE_UNREADABLE, GGUF_INVALID and SYSTEM_UNSUPPORTED.
 */
export function openGguf(path: string): Gguf {
  const absolute = resolve(path);
  const opened: Part[] = [];
  try {
    const first = openPart(absolute);
    opened.push(first);
    for (const name of otherParts(absolute, first.header.metadata)) opened.push(openPart(name));
    checkParts(absolute, opened);
    return new Gguf(absolute, first, opened.slice(1));
  } catch (error) {
    for (const part of opened) part.mapped[Symbol.dispose]();
    throw error;
  }
}

function openPart(path: string): Part {
  const mapped = mapFile(path);
  try {
    const head = new DataView(mapped.view(0, Math.min(mapped.bytes, maxViewBytes)));
    return { mapped, header: parseGguf(path, head, mapped.bytes) };
  } catch (error) {
    mapped[Symbol.dispose]();
    throw error;
  }
}

const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/** Paths of the parts after the first. */
function otherParts(path: string, metadata: Metadata): readonly string[] {
  const count = metadata.number("split.count", 1);
  if (count <= 1) return [];
  const number = metadata.number("split.no", 0);
  const match = partName.exec(basename(path));
  const [, prefix, written, total] = match ?? [];
  if (prefix === undefined || Number(total) !== count || Number(written) !== number + 1)
    throw invalidGguf(
      path,
      null,
      `the file says that it is part ${number + 1} of ${count}, which its name does not`,
      "give the parts their original names (…-00001-of-0000N.gguf) in one folder",
    );
  const named = (part: number) =>
    join(dirname(path), `${prefix}-${String(part).padStart(5, "0")}-of-${total}.gguf`);
  if (number !== 0)
    throw invalidGguf(path, null, `this is part ${number + 1} of ${count}`, `name ${named(1)}`);
  return Array.from({ length: count - 1 }, (_, i) => named(i + 2));
}

function checkParts(path: string, parts: readonly Part[]): void {
  const names = new Set<string>();
  for (const [index, { header, mapped }] of parts.entries()) {
    const number = header.metadata.number("split.no", 0);
    const count = header.metadata.number("split.count", 1);
    if (parts.length > 1 && (number !== index || count !== parts.length))
      throw invalidGguf(
        mapped.path,
        null,
        `the file says that it is part ${number + 1} of ${count}, but stands as part ${index + 1} of ${parts.length}`,
        "the parts belong to different models or were renamed",
      );
    for (const { name } of header.tensors) {
      if (names.has(name)) throw invalidGguf(mapped.path, null, `tensor ${name} is in two parts`);
      names.add(name);
    }
  }
  const announced = parts[0]?.header.metadata.number("split.tensors.count", names.size);
  if (announced !== names.size)
    throw invalidGguf(
      path,
      null,
      `the model should have ${announced} tensors, but its parts hold ${names.size}`,
    );
}
