/**
 * From compressed images to pixels of four bytes (red, green, blue, unused). Decoders stand behind one interface: the
 * exact one is libjpeg-turbo called directly, since a call with accurate DCT costs what the fast one costs and its pixels
 * equal those of PIL and OpenCV.
 */
import { createRequire } from "node:module";
import { MillraceError } from "@millrace/core";
import { type JpegHeader, jpegHeader } from "./image-header.ts";
import type { DecoderName } from "./transform.ts";
import { openTurbo, type Turbo } from "./turbo-library.ts";

/** A rectangle of an image, pixels. */
export interface Part {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Where pixels go. */
export interface PixelTarget {
  /** What of an image of this size is needed; throws when the image is too large. Called once, first. */
  part(width: number, height: number): Part;
  /** Memory for so many pixels of four bytes. Called once. */
  room(pixels: number): Uint8Array;
}

export interface Decoded {
  /** Of the whole image. */
  readonly width: number;
  readonly height: number;
  /** What was decoded, rows of `part.width` pixels without gaps: what is needed, or more. */
  readonly part: Part;
}

/**
 * One image at a time. Throws Error with the reason when the part cannot be decoded, or the image is cut off; damage
 * outside the part may go unnoticed.
 */
export interface ImageDecoder {
  readonly name: Exclude<DecoderName, "auto">;
  decode(bytes: Uint8Array, target: PixelTarget): Decoded | Promise<Decoded>;
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
    const turbo = openTurbo();
    if (turbo !== null) return new TurboDecoder(turbo, vips);
    if (name === "system-turbo")
      throw new MillraceError("ENVIRONMENT_MISSING", "libturbojpeg is not on this machine", {
        hint: "install libturbojpeg0 (Debian), or choose the decoder npm-turbo or vips",
      });
  }
  return new NpmTurboDecoder(vips);
}

/**
 * What decodes JPEG on this machine under that name, for reports: "system-turbo, in parts", for instance. Throws
 * MillraceError ENVIRONMENT_MISSING as opening does.
 */
export function decoderInUse(name: DecoderName = "auto"): string {
  const decoder = openDecoder(name);
  decoder.close?.();
  return decoder instanceof TurboDecoder && decoder.inParts
    ? `${decoder.name}, in parts`
    : decoder.name;
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

class TurboDecoder implements ImageDecoder {
  readonly name = "system-turbo";
  private readonly turbo: Turbo;
  private readonly others: ImageDecoder;

  constructor(turbo: Turbo, others: ImageDecoder) {
    this.turbo = turbo;
    this.others = others;
  }

  /** Only what a crop needs is decoded. */
  get inParts(): boolean {
    return this.turbo.inParts;
  }

  decode(bytes: Uint8Array, target: PixelTarget): Decoded | Promise<Decoded> {
    const header = headerOf(bytes);
    if (header === null || !header.turbo) return this.others.decode(bytes, target);
    const { width, height } = header;
    const needed = target.part(width, height);
    // An image without its end marker is cut off, which only decoding all of it tells.
    const whole = bytes.at(-2) !== 0xff || bytes.at(-1) !== 0xd9;
    const room = ({ width, height }: Part): Uint8Array => target.room(width * height);
    return {
      width,
      height,
      part: this.turbo.decompress(bytes, { width, height }, whole ? null : needed, room),
    };
  }

  close(): void {
    this.turbo.close();
  }
}

interface TurboModule {
  readonly FORMAT_RGBX: number;
  decompressSync(image: Buffer, out: Buffer, options: { format: number }): unknown;
}

class NpmTurboDecoder implements ImageDecoder {
  readonly name = "npm-turbo";
  private readonly others: ImageDecoder;
  private readonly turbo: TurboModule;

  constructor(others: ImageDecoder) {
    this.others = others;
    this.turbo = createRequire(import.meta.url)("@julusian/jpeg-turbo") as TurboModule;
  }

  decode(bytes: Uint8Array, target: PixelTarget): Decoded | Promise<Decoded> {
    const header = headerOf(bytes);
    if (header === null || !header.turbo) return this.others.decode(bytes, target);
    const { width, height } = header;
    target.part(width, height);
    const out = target.room(width * height);
    try {
      this.turbo.decompressSync(asBuffer(bytes), asBuffer(out), {
        format: this.turbo.FORMAT_RGBX,
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(reason === "No error" ? "the JPEG is corrupt or cut off" : reason, { cause });
    }
    return { width, height, part: { x: 0, y: 0, width, height } };
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

  async decode(bytes: Uint8Array, target: PixelTarget): Promise<Decoded> {
    const sharp = await this.load();
    // What is shared between threads must not be handed to native code that may keep it.
    const own = Buffer.from(bytes);
    const { width, height } = await sharp(own, {}).metadata();
    target.part(width, height);
    const out = target.room(width * height);
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
    return { width, height, part: { x: 0, y: 0, width, height } };
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
