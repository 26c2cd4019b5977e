/** GoogLeNet (Szegedy et al., CVPR 2015) as in torchvision: batch norm, no auxiliary classifiers, 3x3 for 5x5. */
import type { TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, square, type Value } from "./builder.ts";
import type { ModelOptions } from "./options.ts";

/** Channels of a module: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pool projection. A null is a pool. */
const modules: readonly (readonly [string, readonly number[] | null])[] = [
  ["inception3a", [64, 96, 128, 16, 32, 32]],
  ["inception3b", [128, 128, 192, 32, 96, 64]],
  ["maxpool3", null],
  ["inception4a", [192, 96, 208, 16, 48, 64]],
  ["inception4b", [160, 112, 224, 24, 64, 64]],
  ["inception4c", [128, 128, 256, 24, 64, 64]],
  ["inception4d", [112, 144, 288, 32, 64, 64]],
  ["inception4e", [256, 160, 320, 32, 128, 128]],
  ["maxpool4", null],
  ["inception5a", [256, 160, 320, 32, 128, 128]],
  ["inception5b", [384, 192, 384, 48, 128, 128]],
];

/** Nine inception modules of four branches each. */
export function googlenet(options: ModelOptions): TrainingGraph {
  const b = new GraphBuilder();
  const { batch, classes = 1000, image = [224, 224], dropout = 0.2 } = options;
  let x = b.input("image", [batch, 3, ...image]);
  const labels = b.input("labels", [batch], "i32");
  const unit = (name: string, from: Value, out: number, kernel: number, stride = 1): Value => {
    const y = b.conv(`${name}.conv`, from, out, square(kernel, stride, (kernel - 1) / 2));
    return b.relu(`${name}.relu`, b.batchNorm(`${name}.bn`, y));
  };
  x = b.maxPool("maxpool1", unit("conv1", x, 64, 7, 2), square(3, 2), true);
  x = unit("conv3", unit("conv2", x, 64, 1), 192, 3);
  x = b.maxPool("maxpool2", x, square(3, 2), true);
  for (const [name, channels] of modules) {
    if (channels === null) {
      x = b.maxPool(name, x, name === "maxpool4" ? square(2, 2) : square(3, 2), true);
      continue;
    }
    const [one = 0, reduce3 = 0, three = 0, reduce5 = 0, five = 0, pool = 0] = channels;
    const branch1 = unit(`${name}.branch1`, x, one, 1);
    const branch2 = unit(`${name}.branch2.1`, unit(`${name}.branch2.0`, x, reduce3, 1), three, 3);
    const branch3 = unit(`${name}.branch3.1`, unit(`${name}.branch3.0`, x, reduce5, 1), five, 3);
    const pooled = b.maxPool(`${name}.branch4.0`, x, square(3, 1, 1));
    const branch4 = unit(`${name}.branch4.1`, pooled, pool, 1);
    x = b.concat(`${name}.concat`, [branch1, branch2, branch3, branch4]);
  }
  x = b.dropout("dropout", b.globalAveragePool("avgpool", x), dropout);
  x = b.linear("fc", x, classes, { bias: true });
  b.crossEntropy("loss", x, labels);
  return b.build("googlenet", batch, options.type);
}
