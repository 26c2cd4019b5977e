/** Made-up data in memory, its words as numbers: what experiments use that need no files. */
import { Rng } from "@millrace/core";
import { type Csr, CsrBuilder, columnCounts, normalizeRows } from "../data/csr.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import { BayesReference } from "./bayes.ts";
import { cumulate, makePoint, makeWorld, nature, type Point, place, type World } from "./world.ts";

export interface MadeData {
  readonly world: World;
  readonly dataset: Dataset;
  /** Expected precision at 1 of the best possible ranking of the test points, percent. */
  readonly bestP1: number;
}

export interface MakeOptions {
  readonly labels: number;
  readonly seed: number;
  readonly testPoints: number;
  /** Training points at most; the world has about 2.3 a label. */
  readonly points?: number;
}

/** Makes training and test points. Equal options give equal data. */
export function makeData(options: MakeOptions): MadeData {
  const world = makeWorld(options);
  const rng = new Rng(`made/${options.seed}`);
  const trainRng = rng.fork("train");
  const cumulated = cumulate(world.counts);
  const draw = (from: Rng): number => place(cumulated, from.next() * world.points);
  const order = mains(world, rng.fork("order"));
  const count = Math.min(options.points ?? world.points, world.points);
  const train = collect(world, count, (i) => makePoint(world, order[i] as number, trainRng));
  const weights = idf(train.features);
  const reference = new BayesReference(world, 1);
  const testRng = rng.fork("test");
  let best = 0;
  const test = collect(world, options.testPoints, () => {
    const point = makePoint(world, draw(testRng), testRng);
    best += reference.rank(point).chances[0] as number;
    return point;
  });
  return {
    world,
    dataset: {
      train: { ...train, features: weigh(train.features, weights) },
      test: { ...test, features: weigh(test.features, weights) },
      labelTexts: null,
      vectorizer: null,
    },
    bestP1: (100 * best) / Math.max(options.testPoints, 1),
  };
}

/** The main label of every training point, in random order. */
export function mains(world: World, rng: Rng): Int32Array {
  const order = new Int32Array(world.points);
  let at = 0;
  for (let label = 0; label < world.labels; label++)
    for (let i = world.counts[label] as number; i > 0; i--) order[at++] = label;
  rng.shuffle(order);
  return order;
}

/** Columns: label words, then topic words, then noise words. */
function collect(world: World, count: number, make: (i: number) => Point): Split {
  const features = new CsrBuilder(true);
  const labels = new CsrBuilder(false);
  const { vocabulary, topics } = world;
  for (let i = 0; i < count; i++) {
    const point = make(i);
    for (const word of point.words) features.add(word);
    if (point.topic >= 0) features.add(vocabulary + point.topic);
    for (const word of new Set(point.noise)) features.add(vocabulary + topics + word);
    features.endRow();
    for (const label of point.labels) labels.add(label);
    labels.endRow();
  }
  return {
    features: features.build(vocabulary + topics + nature.noiseWords),
    labels: labels.build(world.labels),
    filter: null,
  };
}

function idf(features: Csr): Float32Array {
  return Float32Array.from(columnCounts(features), (n) =>
    n === 0 ? 0 : Math.log((features.rows + 1) / n),
  );
}

function weigh(features: Csr, weights: Float32Array): Csr {
  return normalizeRows({
    ...features,
    values: Float32Array.from(features.indices, (id) => weights[id] as number),
  });
}
