/**
 * From compressed images to pixels of four bytes (red, green, blue, unused). Decoders stand behind one interface: the
 * exact one is libjpeg-turbo called directly, since a call with accurate DCT costs what the fast one costs and its pixels
 * equal those of PIL and OpenCV.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { MillraceError } from "@millrace/core";
import { koffi } from "@millrace/system";
import { type JpegHeader, jpegHeader } from "./image-header.ts";
import type { DecoderName } from "./transform.ts";

/** Gives memory for the pixels of an image of this size, or throws when it is too large. */
export type PixelRoom = (width: number, height: number) => Uint8Array;

export interface Decoded {
  readonly width: number;
  readonly height: number;
}

/** One image at a time. Throws Error with the reason when the image cannot be decoded whole. */
export interface ImageDecoder {
  readonly name: Exclude<DecoderName, "auto">;
  decode(bytes: Uint8Array, room: PixelRoom): Decoded | Promise<Decoded>;
  close?(): void;
}

/**
 * The decoder of that name; auto takes the exact one where it loads. JPEG that a decoder of JPEG does not take (CMYK)
 * and every other format go to vips. Throws MillraceError ENVIRONMENT_MISSING.
 */
export function openDecoder(name: DecoderName = "auto"): ImageDecoder {
  const vips = new VipsDecoder();
  if (name === "vips") return vips;
  if (name !== "npm-turbo") {
    const library = turboLibrary();
    if (library !== null) return new TurboDecoder(library, vips);
    if (name === "system-turbo")
      throw new MillraceError("ENVIRONMENT_MISSING", "libturbojpeg is not on this machine", {
        hint: "install libturbojpeg0 (Debian), or choose the decoder npm-turbo or vips",
      });
  }
  return new NpmTurboDecoder(vips);
}

type Jpeg = JpegHeader & { readonly turbo: boolean };

function headerOf(bytes: Uint8Array): Jpeg | null {
  const header = jpegHeader(bytes);
  if (header !== null)
    return { ...header, turbo: header.components === 1 || header.components === 3 };
  if (bytes[0] === 0xff && bytes[1] === 0xd8)
    throw new Error("the JPEG ends before its header does");
  return null;
}

function turboLibrary(): TurboLibrary | null {
  for (const path of [...libraryPaths()]) {
    try {
      return bind(path);
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

interface TurboLibrary {
  readonly init: () => unknown;
  readonly destroy: (handle: unknown) => number;
  readonly decompress: (
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
  readonly error: (handle: unknown) => string;
}

function bind(path: string): TurboLibrary {
  const library = koffi.load(path);
  return {
    init: library.func("void *tjInitDecompress()") as () => unknown,
    destroy: library.func("int tjDestroy(void *)") as (handle: unknown) => number,
    decompress: library.func(
      "int tjDecompress2(void *, const void *, unsigned long, void *, int, int, int, int, int)",
    ) as TurboLibrary["decompress"],
    error: library.func("const char *tjGetErrorStr2(void *)") as (handle: unknown) => string,
  };
}

const pixelFormatRgbx = 2;

class TurboDecoder implements ImageDecoder {
  readonly name = "system-turbo";
  private readonly library: TurboLibrary;
  private readonly handle: unknown;
  private readonly others: ImageDecoder;

  constructor(library: TurboLibrary, others: ImageDecoder) {
    this.library = library;
    this.handle = library.init();
    this.others = others;
  }

  decode(bytes: Uint8Array, room: PixelRoom): Decoded | Promise<Decoded> {
    const header = headerOf(bytes);
    if (header === null || !header.turbo) return this.others.decode(bytes, room);
    const { width, height } = header;
    const out = room(width, height);
    const { handle, library } = this;
    if (
      library.decompress(handle, bytes, bytes.length, out, width, 0, height, pixelFormatRgbx, 0) !==
      0
    ) {
      const reason = library.error(handle);
      // Some cameras leave bytes between segments; every decoder passes over them.
      if (!/extraneous bytes/i.test(reason)) throw new Error(reason);
    }
    return { width, height };
  }

  close(): void {
    this.library.destroy(this.handle);
  }
}

interface TurboModule {
  readonly FORMAT_RGBX: number;
  decompressSync(image: Buffer, out: Buffer, options: { format: number }): Decoded;
}

class NpmTurboDecoder implements ImageDecoder {
  readonly name = "npm-turbo";
  private readonly others: ImageDecoder;
  private readonly turbo: TurboModule;

  constructor(others: ImageDecoder) {
    this.others = others;
    this.turbo = createRequire(import.meta.url)("@julusian/jpeg-turbo") as TurboModule;
  }

  decode(bytes: Uint8Array, room: PixelRoom): Decoded | Promise<Decoded> {
    const header = headerOf(bytes);
    if (header === null || !header.turbo) return this.others.decode(bytes, room);
    const { width, height } = header;
    try {
      this.turbo.decompressSync(asBuffer(bytes), asBuffer(room(width, height)), {
        format: this.turbo.FORMAT_RGBX,
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(reason === "No error" ? "the JPEG is corrupt or cut off" : reason, { cause });
    }
    return { width, height };
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);

interface SharpImage {
  metadata(): Promise<{ readonly width: number; readonly height: number }>;
  toColourspace(name: string): SharpImage;
  ensureAlpha(): SharpImage;
  raw(): SharpImage;
  toBuffer(options: { resolveWithObject: true }): Promise<{
    readonly data: Buffer;
    readonly info: { readonly width: number; readonly height: number; readonly channels: number };
  }>;
}
type Sharp = ((bytes: Uint8Array, options: object) => SharpImage) & {
  concurrency(threads: number): void;
};

/** Any format that sharp reads; an optional peer, loaded when first needed. */
class VipsDecoder implements ImageDecoder {
  readonly name = "vips";
  private sharp: Sharp | null = null;

  async decode(bytes: Uint8Array, room: PixelRoom): Promise<Decoded> {
    const sharp = await this.load();
    // What is shared between threads must not be handed to native code that may keep it.
    const own = Buffer.from(bytes);
    const { width, height } = await sharp(own, {}).metadata();
    const out = room(width, height);
    const { data, info } = await sharp(own, {
      failOn: "truncated",
      limitInputPixels: width * height,
    })
      .toColourspace("srgb")
      .ensureAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 4 || data.length !== out.length)
      throw new Error(`${info.width} x ${info.height} pixels of ${info.channels} channels`);
    out.set(data);
    return { width, height };
  }

  private async load(): Promise<Sharp> {
    if (this.sharp !== null) return this.sharp;
    try {
      const name = "sharp";
      this.sharp = ((await import(name)) as { readonly default: Sharp }).default;
    } catch (cause) {
      throw new Error("only JPEG can be decoded without the package sharp (npm install sharp)", {
        cause,
      });
    }
    this.sharp.concurrency(1);
    return this.sharp;
  }
}
