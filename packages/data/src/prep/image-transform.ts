/** Decode, crop, resize, flip, normalise: an image of any size to one tensor. */
import { Rng, type WasmMemory, wasm } from "@millrace/core";
import type { SampleSpec } from "../batch/batch.ts";
import { type Decoded, type ImageDecoder, openDecoder } from "./decoder.ts";
import { triangleTaps } from "./filter.ts";
import { kernelBytes } from "./kernel-bytes.ts";
import type { ImageTransformSpec, SampleContext, Transform } from "./transform.ts";

/** What a crop takes of an image, pixels, and the grid it is resized to, of which size x size from (skipX, skipY) remain. */
export interface Crop {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly toWidth: number;
  readonly toHeight: number;
  readonly skipX: number;
  readonly skipY: number;
  readonly flip: boolean;
}

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const defaultMaxPixels = 64 * 2 ** 20;

/** The crop of a training sample: torchvision's RandomResizedCrop, then a flip; ten attempts, then the largest centre. */
export function randomCrop(
  spec: ImageTransformSpec,
  width: number,
  height: number,
  context: SampleContext,
): Crop {
  const { scale = [0.08, 1], ratio = [3 / 4, 4 / 3], flip = 0.5, size } = spec;
  const rng = new Rng(`sample/${context.seed}/${context.epoch}/${context.item}`);
  const flipped = rng.next() < flip;
  const rest = { toWidth: size, toHeight: size, skipX: 0, skipY: 0, flip: flipped };
  for (let i = 0; i < 10; i++) {
    const area = width * height * (scale[0] + (scale[1] - scale[0]) * rng.next());
    const aspect = Math.exp(Math.log(ratio[0]) + Math.log(ratio[1] / ratio[0]) * rng.next());
    const w = Math.round(Math.sqrt(area * aspect));
    const h = Math.round(Math.sqrt(area / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return { x: rng.int(0, width - w), y: rng.int(0, height - h), width: w, height: h, ...rest };
  }
  const aspect = Math.min(Math.max(width / height, ratio[0]), ratio[1]);
  const w = Math.max(1, Math.min(width, Math.round(height * aspect)));
  const h = Math.max(1, Math.min(height, Math.round(width / aspect)));
  return { x: (width - w) >> 1, y: (height - h) >> 1, width: w, height: h, ...rest };
}

/** The crop of an evaluation sample: the short side to `resize`, then the centre. */
export function centreCrop(spec: ImageTransformSpec, width: number, height: number): Crop {
  const { size } = spec;
  const short = Math.max(size, spec.resize ?? Math.round((size * 256) / 224));
  const factor = short / Math.min(width, height);
  const toWidth = width <= height ? short : Math.trunc(width * factor);
  const toHeight = width <= height ? Math.trunc(height * factor) : short;
  return {
    x: 0,
    y: 0,
    width,
    height,
    toWidth,
    toHeight,
    skipX: roundHalfEven((toWidth - size) / 2),
    skipY: roundHalfEven((toHeight - size) / 2),
    flip: false,
  };
}

/** As Python rounds, and with it torchvision's centre crop. */
function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

interface Kernels {
  vertical(src: number, stride: number, n: number, w: number, taps: number, dst: number): void;
  horizontal_f32(
    row: number,
    at: number,
    w: number,
    pairs: number,
    n: number,
    dst: number,
    plane: number,
    step: number,
    scale: number,
    bias: number,
  ): void;
  horizontal_u8(
    row: number,
    at: number,
    w: number,
    pairs: number,
    n: number,
    dst: number,
    plane: number,
    step: number,
  ): void;
}

/** A worker's image preparation: one decoder, one memory that grows to the largest image seen. */
export class ImageTransform implements Transform {
  readonly spec: SampleSpec;
  readonly decoder: ImageDecoder;
  private readonly options: ImageTransformSpec;
  private readonly maxPixels: number;
  private readonly memory: WasmMemory;
  private readonly kernels: Kernels;
  private readonly outBytes: number;

  constructor(options: ImageTransformSpec) {
    const { size, layout, type } = options;
    this.options = options;
    this.maxPixels = options.maxPixels ?? defaultMaxPixels;
    this.spec = { type, shape: layout === "nchw" ? [3, size, size] : [size, size, 3] };
    this.outBytes = 3 * size * size * (type === "f32" ? 4 : 1);
    this.memory = new wasm.Memory({ initial: 64, maximum: 65536, shared: true });
    const module = new wasm.Module(Buffer.from(kernelBytes, "base64"));
    this.kernels = new wasm.Instance(module, { env: { memory: this.memory } }).exports as Kernels;
    this.decoder = openDecoder(options.decoder);
    this.writeScale();
  }

  apply(input: Uint8Array, out: Uint8Array, context: SampleContext): void | Promise<void> {
    let crop: Crop | null = null;
    let pixelsAt = 0;
    const decoded = this.decoder.decode(input, {
      part: (width, height) => {
        this.check(width, height);
        crop = this.cropOf(width, height, context);
        pixelsAt = this.layout(Math.max(width, height)).pixels;
        return crop;
      },
      room: (pixels) => this.room(pixelsAt, pixels),
    });
    const finish = (result: Decoded): void => this.finish(result, crop as unknown as Crop, out);
    if (decoded instanceof Promise) return decoded.then(finish);
    finish(decoded);
  }

  close(): void {
    this.decoder.close?.();
  }

  // Memory: 64 bytes of scale and bias, the output, one row between the passes, tables, then the pixels.

  private get outAt(): number {
    return 64;
  }

  private get rowAt(): number {
    return align(this.outAt + this.outBytes + 64);
  }

  private writeScale(): void {
    const { mean = imagenet.mean, std = imagenet.std } = this.options;
    const floats = new Float32Array(this.memory.buffer, 0, 8);
    for (let c = 0; c < 3; c++) {
      floats[c] = 1 / (255 * 64 * (std[c] as number));
      floats[4 + c] = -(mean[c] as number) / (std[c] as number);
    }
  }

  /** Room of one row, tables and pixels for an image of this width. */
  private layout(width: number): { tables: number; pixels: number } {
    const tables = align(this.rowAt + 8 * width + 64);
    // Taps of both axes: at most 2 * width / 1 + 3 per output is bounded by the count of source pixels.
    const { size } = this.options;
    return { tables, pixels: align(tables + 8 * size + 16 * size * (width + 2) + 4096) };
  }

  private check(width: number, height: number): void {
    if (!(width >= 1 && height >= 1)) throw new Error(`an image of ${width} x ${height} pixels`);
    if (width * height > this.maxPixels)
      throw new Error(
        `${width} x ${height} pixels are more than the limit of ${this.maxPixels} (maxPixels)`,
      );
  }

  private room(at: number, pixels: number): Uint8Array {
    const missing = Math.ceil((at + 4 * pixels + 64 - this.memory.buffer.byteLength) / 65536);
    if (missing > 0) this.memory.grow(missing);
    return new Uint8Array(this.memory.buffer, at, 4 * pixels);
  }

  private cropOf(width: number, height: number, context: SampleContext): Crop {
    return this.options.mode === "train"
      ? randomCrop(this.options, width, height, context)
      : centreCrop(this.options, width, height);
  }

  private finish({ width, height, part }: Decoded, crop: Crop, out: Uint8Array): void {
    const { size, layout, type } = this.options;
    const { buffer } = this.memory;
    const { tables, pixels } = this.layout(Math.max(width, height));
    const down = triangleTaps(crop.height, crop.toHeight, crop.skipY, size, false);
    const across = triangleTaps(crop.width, crop.toWidth, crop.skipX, size, crop.flip);
    // Only the columns that some output needs are carried through the vertical pass.
    let left = crop.width;
    let right = 0;
    for (const start of across.first) {
      if (start < left) left = start;
      if (start + across.count > right) right = start + across.count;
    }
    const pairs = (across.count + 1) >> 1;
    const offsets = new Int32Array(buffer, tables, size);
    // Each weight stands four times in a row, once per byte of a pixel: two words of two.
    const weights = new Int32Array(buffer, tables + 4 * align16(size), size * pairs * 4);
    weights.fill(0);
    for (let o = 0; o < size; o++) {
      offsets[o] = ((across.first[o] as number) - left) * 8;
      for (let t = 0; t < across.count; t++) {
        const weight = across.weights[o * across.count + t] as number;
        const at = 2 * (o * pairs * 2 + t);
        weights[at] = weights[at + 1] = (weight << 16) | (weight & 0xffff);
      }
    }
    const downAt = align(weights.byteOffset + weights.byteLength);
    new Int16Array(buffer, downAt, down.weights.length).set(down.weights);
    const { vertical, horizontal_f32, horizontal_u8 } = this.kernels;
    const row = this.rowAt;
    const blocks = (right - left + 3) >> 2;
    const element = type === "f32" ? 4 : 1;
    const planar = layout === "nchw";
    const plane = planar ? size * size * element : element;
    const step = planar ? element : 3 * element;
    const stride = 4 * part.width;
    const origin = pixels + stride * (crop.y - part.y) + 4 * (crop.x - part.x + left);
    for (let o = 0; o < size; o++) {
      const from = origin + stride * (down.first[o] as number);
      vertical(from, stride, blocks, downAt + 2 * o * down.count, down.count, row);
      const to = this.outAt + o * size * (planar ? element : 3 * element);
      if (type === "f32")
        horizontal_f32(row, tables, weights.byteOffset, pairs, size, to, plane, step, 0, 16);
      else horizontal_u8(row, tables, weights.byteOffset, pairs, size, to, plane, step);
    }
    out.set(new Uint8Array(buffer, this.outAt, this.outBytes));
  }
}

const align = (n: number): number => Math.ceil(n / 64) * 64;
const align16 = (n: number): number => Math.ceil(n / 16) * 16;
