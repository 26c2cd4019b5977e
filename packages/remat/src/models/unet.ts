/**
 * U-Net (Ronneberger, Fischer, Brox, MICCAI 2015) in the form that MONeT measured: batch norm, resized skips. Planes are
 * enlarged by nearest neighbours unless asked otherwise.
 */
import type { TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, square, type Value } from "./builder.ts";
import type { ModelOptions } from "./options.ts";

/** Four levels down and up, 416 x 608 images, per-pixel classes. */
export function unet(options: ModelOptions): TrainingGraph {
  const b = new GraphBuilder();
  const { batch, classes = 2, image = [416, 608], upsampling = "nearest" } = options;
  const [height, width] = image;
  const levels = [64, 128, 256, 512, 512];
  let x = b.input("image", [batch, 3, height, width]);
  const labels = b.input("labels", [batch, height, width], "i32");
  const double = (name: string, from: Value, out: number, middle: number): Value => {
    let y = b.conv(`${name}.0`, from, middle, square(3, 1, 1), { bias: true });
    y = b.relu(`${name}.2`, b.batchNorm(`${name}.1`, y));
    y = b.conv(`${name}.3`, y, out, square(3, 1, 1), { bias: true });
    return b.relu(`${name}.5`, b.batchNorm(`${name}.4`, y));
  };
  const skips: Value[] = [];
  for (const [level, channels] of levels.entries()) {
    if (level > 0) x = b.maxPool(`down${level}.pool`, x, square(2, 2));
    x = double(level === 0 ? "inc" : `down${level}`, x, channels, channels);
    skips.push(x);
  }
  for (let level = 1; level <= 4; level++) {
    const skip = skips[4 - level] as Value;
    const up =
      upsampling === "transposed"
        ? b.convTranspose(`up${level}.up`, x, x.dims[1] as number, square(2, 2), { bias: true })
        : b.upsample(`up${level}.up`, x, 2, upsampling);
    const joined = b.concat(`up${level}.concat`, [skip, up]);
    const channels = joined.dims[1] as number;
    const out = level === 4 ? 64 : (skip.dims[1] as number) / 2;
    x = double(`up${level}`, joined, out, channels / 2);
  }
  x = b.conv("outc", x, classes, square(1), { bias: true });
  b.crossEntropy("loss", x, labels);
  return b.build("unet", batch, options.type);
}
