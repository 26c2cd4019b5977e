/** Residual networks (He, Zhang, Ren, Sun, CVPR 2016), with torchvision's names. */
import type { TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, square, type Value } from "./builder.ts";
import type { ModelOptions } from "./options.ts";

interface Shape {
  readonly name: string;
  readonly blocks: readonly number[];
  readonly widths: readonly number[];
  /** 1x1, 3x3, 1x1 to four times the width, instead of two 3x3. */
  readonly bottleneck: boolean;
  /** 7x7 of stride 2 and a pool, or one 3x3 (small images). */
  readonly stem: "imagenet" | "small";
}

function block(
  b: GraphBuilder,
  name: string,
  x: Value,
  width: number,
  stride: number,
  bottleneck: boolean,
): Value {
  const out = bottleneck ? width * 4 : width;
  let y = x;
  if (bottleneck) {
    y = b.conv(`${name}.conv1`, y, width, square(1));
    y = b.relu(`${name}.relu1`, b.batchNorm(`${name}.bn1`, y));
    y = b.conv(`${name}.conv2`, y, width, square(3, stride, 1));
    y = b.relu(`${name}.relu2`, b.batchNorm(`${name}.bn2`, y));
    y = b.batchNorm(`${name}.bn3`, b.conv(`${name}.conv3`, y, out, square(1)));
  } else {
    y = b.conv(`${name}.conv1`, y, width, square(3, stride, 1));
    y = b.relu(`${name}.relu1`, b.batchNorm(`${name}.bn1`, y));
    y = b.batchNorm(`${name}.bn2`, b.conv(`${name}.conv2`, y, out, square(3, 1, 1)));
  }
  let skip = x;
  if (stride !== 1 || x.dims[1] !== out)
    skip = b.batchNorm(
      `${name}.downsample.1`,
      b.conv(`${name}.downsample.0`, x, out, square(1, stride)),
    );
  return b.relu(`${name}.relu`, b.sum(`${name}.add`, y, skip));
}

function residual(shape: Shape, options: ModelOptions): TrainingGraph {
  const b = new GraphBuilder();
  const { batch, classes = shape.stem === "imagenet" ? 1000 : 10 } = options;
  const image = options.image ?? (shape.stem === "imagenet" ? [224, 224] : [32, 32]);
  let x = b.input("image", [batch, 3, ...image]);
  const labels = b.input("labels", [batch], "i32");
  const imagenet = shape.stem === "imagenet";
  const first = shape.widths[0] as number;
  x = b.conv("conv1", x, first, imagenet ? square(7, 2, 3) : square(3, 1, 1));
  x = b.relu("relu", b.batchNorm("bn1", x));
  if (imagenet) x = b.maxPool("maxpool", x, square(3, 2, 1));
  for (const [stage, count] of shape.blocks.entries())
    for (let i = 0; i < count; i++)
      x = block(
        b,
        `layer${stage + 1}.${i}`,
        x,
        shape.widths[stage] as number,
        i === 0 && stage > 0 ? 2 : 1,
        shape.bottleneck,
      );
  x = b.linear("fc", b.globalAveragePool("avgpool", x), classes, { bias: true });
  b.crossEntropy("loss", x, labels);
  return b.build(shape.name, batch, options.type);
}

const widths = [64, 128, 256, 512];

/** 18 layers of basic blocks. */
export const resnet18 = (options: ModelOptions): TrainingGraph =>
  residual(
    { name: "resnet-18", blocks: [2, 2, 2, 2], widths, bottleneck: false, stem: "imagenet" },
    options,
  );

/** 50 layers of bottleneck blocks. */
export const resnet50 = (options: ModelOptions): TrainingGraph =>
  residual(
    { name: "resnet-50", blocks: [3, 4, 6, 3], widths, bottleneck: true, stem: "imagenet" },
    options,
  );

/** Three stages of two basic blocks on 32 x 32 images: small enough to train on a CPU. */
export const resnetSmall = (options: ModelOptions): TrainingGraph =>
  residual(
    {
      name: "resnet-small",
      blocks: [2, 2, 2],
      widths: [16, 32, 64],
      bottleneck: false,
      stem: "small",
    },
    options,
  );
