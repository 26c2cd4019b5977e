import { createRequire } from "node:module";
import { Rng } from "@millrace/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PhotoMaker } from "../synthetic/photo.ts";
import { type Decoded, openDecoder, type Part } from "./decoder.ts";
import { triangleTaps } from "./filter.ts";
import { jpegHeader } from "./image-header.ts";
import { centreCrop, ImageTransform, randomCrop } from "./image-transform.ts";
import type { DecoderName, ImageTransformSpec } from "./transform.ts";

const turbo = createRequire(import.meta.url)("@julusian/jpeg-turbo") as {
  readonly FORMAT_RGB: number;
  readonly SAMP_420: number;
  compressSync(raw: Buffer, options: object): Buffer;
};
const maker = new PhotoMaker(3, 0.5);

function jpeg(width: number, height: number, index = 0): Buffer {
  const pixels = Buffer.from(maker.render(index, width, height, 0.3));
  const options = {
    width,
    height,
    format: turbo.FORMAT_RGB,
    subsampling: turbo.SAMP_420,
    quality: 90,
  };
  return turbo.compressSync(pixels, options);
}

async function png(width: number, height: number): Promise<Buffer> {
  const { default: sharp } = await import("sharp");
  const raw = { width, height, channels: 3 as const };
  return sharp(Buffer.from(maker.render(0, width, height, 0.6)), { raw })
    .png()
    .toBuffer();
}

const base: ImageTransformSpec = {
  kind: "image",
  size: 24,
  mode: "train",
  type: "u8",
  layout: "nchw",
};
const context = { seed: 1, epoch: 2, item: 3, label: 0 };

async function prepare(
  input: Uint8Array,
  more: Partial<ImageTransformSpec> = {},
): Promise<Uint8Array> {
  const transform = new ImageTransform({ ...base, ...more });
  const out = new Uint8Array(3 * 24 * 24 * (more.type === "f32" ? 4 : 1));
  await transform.apply(input, out, context);
  transform.close();
  return out;
}

async function decode(input: Uint8Array, name: DecoderName): Promise<Uint8Array> {
  return (await decodePart(input, name, null)).pixels;
}

/** Decodes what is needed of an image (null: all). */
async function decodePart(
  input: Uint8Array,
  name: DecoderName,
  needed: Part | null,
): Promise<Decoded & { readonly pixels: Uint8Array }> {
  let pixels = new Uint8Array(0);
  const decoder = openDecoder(name);
  const decoded = await decoder.decode(input, {
    part: (width, height) => needed ?? { x: 0, y: 0, width, height },
    room: (count) => {
      pixels = new Uint8Array(4 * count);
      return pixels;
    },
  });
  decoder.close?.();
  return { ...decoded, pixels };
}

/** Resize by the definition, in floating point, with the same taps. */
function reference(
  pixels: Uint8Array,
  width: number,
  height: number,
  spec: ImageTransformSpec,
): number[] {
  const crop =
    spec.mode === "train"
      ? randomCrop(spec, width, height, context)
      : centreCrop(spec, width, height);
  const down = triangleTaps(crop.height, crop.toHeight, crop.skipY, spec.size, false);
  const across = triangleTaps(crop.width, crop.toWidth, crop.skipX, spec.size, crop.flip);
  const out: number[] = [];
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < spec.size; y++)
      for (let x = 0; x < spec.size; x++) {
        let sum = 0;
        for (let i = 0; i < down.count; i++)
          for (let j = 0; j < across.count; j++) {
            const row = crop.y + (down.first[y] as number) + i;
            const column = crop.x + (across.first[x] as number) + j;
            const weight =
              (down.weights[y * down.count + i] as number) *
              (across.weights[x * across.count + j] as number);
            sum += (weight / 2 ** 28) * (pixels[4 * (row * width + column) + c] as number);
          }
        out.push(sum);
      }
  return out;
}

test("the kernel resizes as the definition says, for every size, crop and flip", async () => {
  for (const [width, height] of [
    [60, 45],
    [31, 77],
    [24, 24],
    [9, 5],
    [400, 120],
    [1, 1],
  ] as const)
    for (const mode of ["train", "evaluate"] as const) {
      const image = jpeg(width, height);
      const pixels = await decode(image, "auto");
      const out = await prepare(image, { mode });
      const wanted = reference(pixels, width, height, { ...base, mode });
      let worst = 0;
      wanted.forEach((value, i) => {
        worst = Math.max(worst, Math.abs(value - (out[i] as number)));
      });
      expect(worst).toBeLessThan(0.8);
    }
});

test("layouts hold the same pixels", async () => {
  const image = jpeg(60, 45);
  const planar = await prepare(image);
  const interleaved = await prepare(image, { layout: "nhwc" });
  for (let p = 0; p < 24 * 24; p++)
    for (let c = 0; c < 3; c++) expect(interleaved[3 * p + c]).toBe(planar[c * 576 + p]);
});

test("decoders agree: exactly, or up to the fast DCT", async () => {
  const image = jpeg(120, 90);
  const exact = await decode(image, "system-turbo");
  const vips = await decode(image, "vips");
  const fast = await decode(image, "npm-turbo");
  let worst = 0;
  exact.forEach((value, i) => {
    // The fourth byte is no colour.
    if (i % 4 === 3) return;
    expect(vips[i]).toBe(value);
    worst = Math.max(worst, Math.abs((fast[i] as number) - value));
  });
  expect(worst).toBeLessThanOrEqual(8);
});

test("a part of an image has the pixels of the whole, for every layout of chroma", async () => {
  const { default: sharp } = await import("sharp");
  const [width, height] = [233, 187];
  const raw = { width, height, channels: 3 as const };
  const pixels = Buffer.from(maker.render(1, width, height, 0.4));
  const images: Buffer[] = [];
  for (const subsampling of [0, 1, 2, 3, 4])
    images.push(
      turbo.compressSync(pixels, {
        width,
        height,
        format: turbo.FORMAT_RGB,
        subsampling,
        quality: 90,
      }),
    );
  for (const chromaSubsampling of ["4:2:0", "4:4:4"])
    images.push(
      await sharp(pixels, { raw }).jpeg({ progressive: true, chromaSubsampling }).toBuffer(),
    );
  let smaller = 0;
  for (const image of images) {
    const whole = await decode(image, "auto");
    const rng = new Rng(`part/${image.length}`);
    for (let i = 0; i < 40; i++) {
      const x = rng.int(0, width - 1);
      const y = rng.int(0, height - 1);
      const needed = {
        x,
        y,
        width: rng.int(1, width - x),
        height: rng.int(1, height - y),
      };
      const { part, pixels: got } = await decodePart(image, "auto", needed);
      if (got.length < whole.length) smaller++;
      for (let row = y; row < y + needed.height; row++) {
        const from = 4 * ((row - part.y) * part.width + x - part.x);
        const wanted = 4 * (row * width + x);
        const bytes = 4 * needed.width;
        expect(got.subarray(from, from + bytes)).toEqual(whole.subarray(wanted, wanted + bytes));
      }
    }
  }
  // Where the library is old, whole images are decoded; the copy that tests run with is not.
  expect(smaller).toBeGreaterThan(200);
});

test("other formats than JPEG go through vips", async () => {
  const image = await png(60, 45);
  const out = await prepare(image, { mode: "evaluate" });
  const wanted = reference(await decode(image, "vips"), 60, 45, { ...base, mode: "evaluate" });
  wanted.forEach((value, i) => {
    expect(Math.abs(value - (out[i] as number))).toBeLessThan(0.8);
  });
});

test("images that are too large are refused by their header, before their pixels", async () => {
  const bomb = jpeg(16, 16);
  const at = bomb.indexOf(Buffer.from([0xff, 0xc0]));
  bomb.writeUInt16BE(65_500, at + 5);
  bomb.writeUInt16BE(65_500, at + 7);
  await expect(prepare(bomb)).rejects.toThrow(/65500 x 65500 pixels are more than the limit/);
  await expect(prepare(await png(200, 100), { maxPixels: 10_000 })).rejects.toThrow(
    /200 x 100 pixels are more than the limit of 10000/,
  );
});

test("every cut and change of a JPEG is decoded or refused with a reason", async () => {
  const image = jpeg(40, 30);
  for (const decoder of ["system-turbo", "npm-turbo"] as const) {
    const transform = new ImageTransform({ ...base, decoder, maxPixels: 1 << 20 });
    const out = new Uint8Array(3 * 24 * 24);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(image.length - 1),
        fc.nat(255),
        fc.integer({ min: 1, max: image.length }),
        async (at, value, end) => {
          const bad = Buffer.from(image.subarray(0, end));
          if (at < end) bad[at] = value;
          try {
            await transform.apply(bad, out, context);
          } catch (error) {
            expect((error as Error).message.length).toBeGreaterThan(5);
          }
        },
      ),
      { numRuns: 150 },
    );
    transform.close();
  }
  await expect(prepare(image.subarray(0, image.length - 40))).rejects.toThrow(/Premature end/);
});

test("the header's size is the image's; no bytes make the reader run away", () => {
  expect(jpegHeader(jpeg(123, 45))).toEqual({ width: 123, height: 45, components: 3 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const header = jpegHeader(Uint8Array.of(0xff, 0xd8, ...bytes));
      if (header !== null) expect(header.width).toBeLessThan(65536);
    }),
  );
});
