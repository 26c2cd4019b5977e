/** Writes a made-up data set in the raw-text form, point by point, with the best possible ranking of its test points. */
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { AtomicFileStream, makeFolder, writeFileAtomic } from "@millrace/core/node";
import { BayesReference } from "./bayes.ts";
import { pseudoWord } from "./pseudo-word.ts";
import { mains } from "./splits.ts";
import {
  cumulate,
  makePoint,
  makeWorld,
  nature,
  type Point,
  place,
  topicOf,
  type World,
  type WorldOptions,
} from "./world.ts";

export interface GenerateOptions extends WorldOptions {
  readonly out: string;
  readonly testPoints: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What was written; also in `generated.json`. */
export interface Generated {
  readonly schema: "millrace.extreme-generated/1";
  readonly labels: number;
  readonly seed: number;
  readonly points: number;
  readonly testPoints: number;
  /** Shares of 1. */
  readonly singletons: number;
  readonly labelsPerPoint: number;
  readonly mostPoints: number;
  /** Expected precision, in percent, of the best possible ranking of the test points. */
  readonly bayes: { readonly p1: number; readonly p3: number; readonly p5: number };
}

const depth = 5;

/** Memory: the labels and one block of lines. */
export async function generate(options: GenerateOptions): Promise<Generated> {
  const { out, testPoints, seed } = options;
  const world = makeWorld(options);
  const { labels, points, counts } = world;
  makeFolder(out);
  const total = points + testPoints;
  const text = new Lines(join(out, "Y.txt"));
  for (let label = 0; label < labels; label++) text.add(labelText(world, label));
  text.close();
  const seen = new Int32Array(labels);
  let marks = 0;
  const order = mains(world, new Rng(`generate/${seed}/order`));
  const rng = new Rng(`generate/${seed}/train`);
  await write(
    out,
    "trn",
    world,
    points,
    (i) => {
      const point = makePoint(world, order[i] as number, rng);
      for (const label of point.labels) seen[label] = (seen[label] as number) + 1;
      marks += point.labels.length;
      return point;
    },
    (done) => options.onProgress?.(done, total),
    options.signal,
  );
  const bayes = new BayesReference(world, depth);
  const expected = new Float64Array(depth);
  const ranking = new Lines(join(out, "bayes.txt"));
  const cumulated = cumulate(counts);
  const testRng = new Rng(`generate/${seed}/test`);
  await write(
    out,
    "tst",
    world,
    testPoints,
    () => {
      const point = makePoint(world, place(cumulated, testRng.next() * points), testRng);
      const best = bayes.rank(point);
      const entries: string[] = [];
      for (let r = 0; r < depth && (best.labels[r] as number) >= 0; r++) {
        expected[r] = (expected[r] as number) + (best.chances[r] as number);
        entries.push(`${best.labels[r]}:${Number((best.chances[r] as number).toPrecision(6))}`);
      }
      ranking.add(entries.join(" "));
      return point;
    },
    (done) => options.onProgress?.(points + done, total),
    options.signal,
  );
  ranking.close();
  const upTo = (k: number): number =>
    (100 * expected.subarray(0, k).reduce((a, b) => a + b, 0)) / Math.max(k * testPoints, 1);
  const generated: Generated = {
    schema: "millrace.extreme-generated/1",
    labels,
    seed,
    points,
    testPoints,
    singletons: seen.filter((n) => n === 1).length / labels,
    labelsPerPoint: marks / points,
    mostPoints: seen.reduce((a, b) => Math.max(a, b), 0),
    bayes: { p1: upTo(1), p3: upTo(3), p5: upTo(5) },
  };
  writeFileAtomic(join(out, "generated.json"), `${JSON.stringify(generated, null, 2)}\n`);
  return generated;
}

async function write(
  out: string,
  part: "trn" | "tst",
  world: World,
  count: number,
  make: (i: number) => Point,
  onProgress: (done: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const texts = new Lines(join(out, `${part}_X.txt`));
  const labels = new Lines(join(out, `${part}_X_Y.txt`));
  labels.add(`${count} ${world.labels}`);
  for (let i = 0; i < count; i++) {
    const point = make(i);
    texts.add(pointText(point));
    labels.add(point.labels.map((label) => `${label}:1`).join(" "));
    if (i % 20_000 === 19_999) {
      onProgress(i + 1);
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    }
  }
  texts.close();
  labels.close();
}

const labelWord = (word: number): string => pseudoWord(word, "");
const topicWord = (topic: number): string => pseudoWord(topic, "x");
const noiseWord = (word: number): string => pseudoWord(word, "q");

function labelText(world: World, label: number): string {
  const own = world.words.subarray(
    label * nature.wordsPerLabel,
    (label + 1) * nature.wordsPerLabel,
  );
  return `${Array.from(own, labelWord).join(" ")} ${topicWord(topicOf(label))}`;
}

function pointText({ words, topic, noise }: Point): string {
  const parts = [...words.map(labelWord), ...noise.map(noiseWord)];
  if (topic >= 0) parts.push(topicWord(topic));
  return parts.join(" ");
}

/** Lines into a file that appears when it is closed. */
class Lines {
  readonly #file: AtomicFileStream;
  #block: string[] = [];

  constructor(path: string) {
    this.#file = new AtomicFileStream(path);
  }
  add(line: string): void {
    this.#block.push(line);
    if (this.#block.length === 4096) this.#flush();
  }
  close(): void {
    this.#flush();
    this.#file.commit();
  }
  #flush(): void {
    if (this.#block.length > 0) this.#file.write(`${this.#block.join("\n")}\n`);
    this.#block = [];
  }
}
