/** MobileNet-V2 (Sandler et al., CVPR 2018), width 1, with torchvision's names. */
import type { TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, square, type Value } from "./builder.ts";
import type { ModelOptions } from "./options.ts";

/** Expansion, channels, repeats, stride: table 2 of the paper. */
const settings: readonly (readonly [number, number, number, number])[] = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

/** 53 convolutions, a third of them depthwise. */
export function mobilenetV2(options: ModelOptions): TrainingGraph {
  const b = new GraphBuilder();
  const { batch, classes = 1000, image = [224, 224], dropout = 0.2 } = options;
  let x = b.input("image", [batch, 3, ...image]);
  const labels = b.input("labels", [batch], "i32");
  const unit = (
    name: string,
    from: Value,
    out: number,
    kernel: number,
    stride: number,
    groups: number,
  ): Value => {
    const y = b.conv(`${name}.0`, from, out, square(kernel, stride, (kernel - 1) / 2), { groups });
    return b.relu6(`${name}.2`, b.batchNorm(`${name}.1`, y));
  };
  x = unit("features.0", x, 32, 3, 2, 1);
  let at = 1;
  for (const [expansion, out, repeats, firstStride] of settings)
    for (let i = 0; i < repeats; i++) {
      const name = `features.${at++}`;
      const stride = i === 0 ? firstStride : 1;
      const channels = x.dims[1] as number;
      const hidden = channels * expansion;
      let y = x;
      let part = 0;
      if (expansion !== 1) y = unit(`${name}.conv.${part++}`, y, hidden, 1, 1, 1);
      y = unit(`${name}.conv.${part++}`, y, hidden, 3, stride, hidden);
      y = b.conv(`${name}.conv.${part++}`, y, out, square(1));
      y = b.batchNorm(`${name}.conv.${part}`, y);
      x = stride === 1 && channels === out ? b.sum(`${name}.add`, y, x) : y;
    }
  x = unit("features.18", x, 1280, 1, 1, 1);
  x = b.dropout("classifier.0", b.globalAveragePool("avgpool", x), dropout);
  x = b.linear("classifier.1", x, classes, { bias: true });
  b.crossEntropy("loss", x, labels);
  return b.build("mobilenet-v2", batch, options.type);
}
