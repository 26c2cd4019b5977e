/**
 * libturbojpeg, called directly: the machine's, or the copy in @julusian/jpeg-turbo. From version 3 on it decodes a part
 * of an image: columns and rows outside are not transformed, rows below are not even read. Pixels are the same.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { koffi } from "@millrace/system";
import type { Part } from "./decoder.ts";

type Size = Pick<Part, "width" | "height">;

/** A decompressor with the accurate DCT; pixels are red, green, blue, unused. */
export interface Turbo {
  /** The library can leave out what is not needed. */
  readonly inParts: boolean;
  /**
   * Decodes what is needed of a JPEG of this size (null: all of it) and gives the part that it put into `room`. Throws
   * Error with the library's reason for an image that it warns of.
   */
  decompress(
    bytes: Uint8Array,
    size: Size,
    needed: Part | null,
    room: (part: Part) => Uint8Array,
  ): Part;
  close(): void;
}

/** Null when there is no such library. */
export function openTurbo(): Turbo | null {
  for (const path of libraryPaths()) {
    try {
      const library = koffi.load(path);
      try {
        return new Turbo3(library);
      } catch {
        return new Turbo2(library);
      }
    } catch {
      // The next place may have it.
    }
  }
  return null;
}

function* libraryPaths(): Generator<string> {
  yield process.platform === "darwin" ? "libturbojpeg.dylib" : "libturbojpeg.so.0";
  try {
    const root = dirname(
      createRequire(import.meta.url).resolve("@julusian/jpeg-turbo/package.json"),
    );
    for (const libc of ["", "-musl"]) {
      const folder = `jpeg-turbo-${process.platform}-${process.arch}${libc}`;
      const path = join(root, "prebuilds", folder, "libturbojpeg.so.0");
      if (existsSync(path)) yield path;
    }
  } catch {
    // Without the package there is only the system's library.
  }
}

type Library = ReturnType<typeof koffi.load>;

const pixelFormatRgbx = 2;
const decompressor = 1;
const subsampling = 4;
/** Every width of a minimum coded unit divides this. */
const unit = 32;
/** Pixels around a part whose chroma depends on pixels outside it. */
const margin = 4;
/** Some cameras leave bytes between segments; every decoder passes over them. */
const harmless = /extraneous bytes/i;

class Turbo3 implements Turbo {
  readonly inParts = true;
  private readonly handle: unknown;
  private readonly destroy: (handle: unknown) => void;
  private readonly header: (handle: unknown, bytes: Uint8Array, length: number) => number;
  private readonly get: (handle: unknown, parameter: number) => number;
  private readonly crop: (handle: unknown, region: object) => number;
  private readonly pixels: (
    handle: unknown,
    bytes: Uint8Array,
    length: number,
    out: Uint8Array,
    pitch: number,
    format: number,
  ) => number;
  private readonly error: (handle: unknown) => string;

  constructor(library: Library) {
    const region = koffi.struct({ x: "int", y: "int", w: "int", h: "int" });
    this.crop = library.func("tj3SetCroppingRegion", "int", ["void *", region]) as Turbo3["crop"];
    this.header = library.func(
      "int tj3DecompressHeader(void *, const void *, size_t)",
    ) as Turbo3["header"];
    this.get = library.func("int tj3Get(void *, int)") as Turbo3["get"];
    this.pixels = library.func(
      "int tj3Decompress8(void *, const void *, size_t, void *, int, int)",
    ) as Turbo3["pixels"];
    this.error = library.func("const char *tj3GetErrorStr(void *)") as Turbo3["error"];
    this.destroy = library.func("void tj3Destroy(void *)") as Turbo3["destroy"];
    this.handle = library.func("void *tj3Init(int)")(decompressor);
  }

  decompress(
    bytes: Uint8Array,
    size: Size,
    needed: Part | null,
    room: (part: Part) => Uint8Array,
  ): Part {
    const { handle } = this;
    this.check(this.header(handle, bytes, bytes.length));
    // Without a known layout of units there are no borders to cut at.
    const part =
      needed === null || this.get(handle, subsampling) < 0
        ? { x: 0, y: 0, ...size }
        : around(needed, size);
    const { x, y, width: w, height: h } = part;
    const all = w === size.width && h === size.height;
    this.check(this.crop(handle, all ? { x: 0, y: 0, w: 0, h: 0 } : { x, y, w, h }));
    this.check(this.pixels(handle, bytes, bytes.length, room(part), 0, pixelFormatRgbx));
    return part;
  }

  close(): void {
    this.destroy(this.handle);
  }

  private check(status: number): void {
    if (status === 0) return;
    const reason = this.error(this.handle);
    if (!harmless.test(reason)) throw new Error(reason);
  }
}

/** The part with its margin, from a border of units on. */
function around({ x, y, width, height }: Part, size: Size): Part {
  const left = Math.max(0, Math.floor((x - margin) / unit) * unit);
  const top = Math.max(0, y - margin);
  return {
    x: left,
    y: top,
    width: Math.min(size.width, x + width + margin) - left,
    height: Math.min(size.height, y + height + margin) - top,
  };
}

class Turbo2 implements Turbo {
  readonly inParts = false;
  private readonly handle: unknown;
  private readonly destroy: (handle: unknown) => void;
  private readonly pixels: (
    handle: unknown,
    bytes: Uint8Array,
    length: number,
    out: Uint8Array,
    width: number,
    pitch: number,
    height: number,
    format: number,
    flags: number,
  ) => number;
  private readonly error: (handle: unknown) => string;

  constructor(library: Library) {
    this.pixels = library.func(
      "int tjDecompress2(void *, const void *, unsigned long, void *, int, int, int, int, int)",
    ) as Turbo2["pixels"];
    this.error = library.func("const char *tjGetErrorStr2(void *)") as Turbo2["error"];
    this.destroy = library.func("int tjDestroy(void *)") as Turbo2["destroy"];
    this.handle = library.func("void *tjInitDecompress()")();
  }

  decompress(
    bytes: Uint8Array,
    size: Size,
    _needed: Part | null,
    room: (part: Part) => Uint8Array,
  ): Part {
    const { width, height } = size;
    const part = { x: 0, y: 0, width, height };
    const { handle } = this;
    const out = room(part);
    const { length } = bytes;
    if (this.pixels(handle, bytes, length, out, width, 0, height, pixelFormatRgbx, 0) !== 0) {
      const reason = this.error(handle);
      if (!harmless.test(reason)) throw new Error(reason);
    }
    return part;
  }

  close(): void {
    this.destroy(this.handle);
  }
}
