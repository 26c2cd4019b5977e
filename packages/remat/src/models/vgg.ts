/** VGG-16 (Simonyan, Zisserman, ICLR 2015), without dropout unless asked, with torchvision's names. */
import type { TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, square } from "./builder.ts";
import type { ModelOptions } from "./options.ts";

const layers = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0];

/** 13 convolutions and 3 linear layers; torchvision's form has dropout 0.5 between the latter. */
export function vgg16(options: ModelOptions): TrainingGraph {
  const b = new GraphBuilder();
  const { batch, classes = 1000, image = [224, 224], dropout = 0.5 } = options;
  let x = b.input("image", [batch, 3, ...image]);
  const labels = b.input("labels", [batch], "i32");
  let at = 0;
  for (const width of layers) {
    if (width === 0) {
      x = b.maxPool(`features.${at++}`, x, square(2, 2));
      continue;
    }
    x = b.conv(`features.${at++}`, x, width, square(3, 1, 1), { bias: true });
    x = b.relu(`features.${at++}`, x);
  }
  x = b.relu("classifier.1", b.linear("classifier.0", x, 4096, { bias: true }));
  x = b.dropout("classifier.2", x, dropout);
  x = b.relu("classifier.4", b.linear("classifier.3", x, 4096, { bias: true }));
  x = b.dropout("classifier.5", x, dropout);
  x = b.linear("classifier.6", x, classes, { bias: true });
  b.crossEntropy("loss", x, labels);
  return b.build("vgg-16", batch, options.type);
}
