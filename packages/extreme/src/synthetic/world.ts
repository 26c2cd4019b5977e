/**
 * Made-up data with the statistics of large product catalogues: power-law labels in topics, co-labels, short texts. A point has
 * one main label, from which its other labels and its words follow independently, so that the best possible ranking is known
 * exactly (bayes.ts). Memory is O(labels); points are made one at a time.
 */
import { InvariantError, Rng } from "@millrace/core";

export interface WorldOptions {
  readonly labels: number;
  readonly seed: number;
}

/** How the world works; the reference ranking uses the same constants. */
export const nature = {
  labelsPerTopic: 24,
  topicsPerField: 32,
  wordsPerLabel: 4,
  /** Words of a topic from which its labels take theirs, so that labels of a topic are confused. */
  wordsPerTopic: 40,
  /** Chances that a text has a word of its main label, its topic's word, and a related label its mark. */
  wordKept: 0.55,
  topicNamed: 0.7,
  relatedMarked: 0.85,
  /** Shares of labels with 0, 1 … 4 related labels; where a related label lies: same topic, same field, anywhere. */
  related: [0.4, 0.29, 0.17, 0.09, 0.05],
  relatedCandidates: 8,
  sameTopic: 0.75,
  sameField: 0.15,
  /** Points per main label follow n^-exponent. */
  exponent: 2.35,
  noiseWords: 2000,
} as const;

/** The labels with everything that is fixed about them. */
export interface World {
  readonly labels: number;
  readonly seed: number;
  readonly topics: number;
  /** Distinct words of labels; the words themselves are numbers below it. */
  readonly vocabulary: number;
  /** labels × wordsPerLabel, distinct within a label. */
  readonly words: Int32Array;
  /** Related labels of label l: `related[relatedAt[l] … relatedAt[l + 1]]`. */
  readonly relatedAt: Int32Array;
  readonly related: Int32Array;
  /** Training points whose main label it is, at least 1. */
  readonly counts: Int32Array;
  /** Their sum. */
  readonly points: number;
}

/** A point: its labels (ascending) and what its text says. */
export interface Point {
  readonly main: number;
  readonly labels: readonly number[];
  /** Words of the main label that the text has. */
  readonly words: readonly number[];
  /** The topic the text names; -1 for none. */
  readonly topic: number;
  readonly noise: readonly number[];
}

export const topicOf = (label: number): number => Math.floor(label / nature.labelsPerTopic);

/** Makes the labels. Equal options give equal worlds. */
export function makeWorld({ labels, seed }: WorldOptions): World {
  if (labels < nature.labelsPerTopic) throw new InvariantError("a world has at least one topic");
  const rng = new Rng(`world/${seed}/${labels}`);
  const topics = Math.ceil(labels / nature.labelsPerTopic);
  const vocabulary = Math.max(2000, Math.round(0.45 * labels));
  const words = new Int32Array(labels * nature.wordsPerLabel);
  const pool = new Int32Array(nature.wordsPerTopic);
  for (let label = 0; label < labels; label++) {
    if (label % nature.labelsPerTopic === 0)
      for (let j = 0; j < pool.length; j++) pool[j] = rng.int(0, vocabulary - 1);
    const own = new Set<number>();
    while (own.size < nature.wordsPerLabel) own.add(pool[rng.int(0, pool.length - 1)] as number);
    words.set([...own], label * nature.wordsPerLabel);
  }
  const counts = drawCounts(labels, rng.fork("counts"));
  let points = 0;
  for (const count of counts) points += count;
  const { relatedAt, related } = relate(labels, counts, points, rng.fork("related"));
  return { labels, seed, topics, vocabulary, words, relatedAt, related, counts, points };
}

/** Numbers of points from the power law, at most 0.6 % of the labels. */
function drawCounts(labels: number, rng: Rng): Int32Array {
  const most = Math.max(8, Math.round(0.006 * labels));
  const cumulated = new Float64Array(most);
  let sum = 0;
  for (let n = 1; n <= most; n++) {
    sum += n ** -nature.exponent;
    cumulated[n - 1] = sum;
  }
  return Int32Array.from({ length: labels }, () => place(cumulated, rng.next() * sum) + 1);
}

function relate(
  labels: number,
  counts: Int32Array,
  points: number,
  rng: Rng,
): { relatedAt: Int32Array; related: Int32Array } {
  const cumulated = cumulate(counts);
  const relatedAt = new Int32Array(labels + 1);
  let related = new Int32Array(labels * 2);
  let at = 0;
  const fieldSize = nature.labelsPerTopic * nature.topicsPerField;
  // Related labels are general ones, as categories above a product are: the most frequent of some candidates.
  const near = (label: number, size: number): number => {
    const from = Math.floor(label / size) * size;
    const to = Math.min(from + size, labels) - 1;
    let best = rng.int(from, to);
    for (let i = 1; i < nature.relatedCandidates; i++) {
      const other = rng.int(from, to);
      if ((counts[other] as number) > (counts[best] as number)) best = other;
    }
    return best;
  };
  for (let label = 0; label < labels; label++) {
    const own = new Set<number>([label]);
    const wanted = pickShare(nature.related, rng.next());
    for (let tries = 0; own.size <= wanted && tries < 20; tries++) {
      const where = rng.next();
      own.add(
        where < nature.sameTopic
          ? near(label, nature.labelsPerTopic)
          : where < nature.sameTopic + nature.sameField
            ? near(label, fieldSize)
            : place(cumulated, rng.next() * points),
      );
    }
    own.delete(label);
    if (at + own.size > related.length) {
      const bigger = new Int32Array(related.length * 2);
      bigger.set(related);
      related = bigger;
    }
    for (const other of own) related[at++] = other;
    relatedAt[label + 1] = at;
  }
  return { relatedAt, related: related.slice(0, at) };
}

function pickShare(shares: readonly number[], u: number): number {
  let sum = 0;
  for (let i = 0; i < shares.length; i++) {
    sum += shares[i] as number;
    if (u < sum) return i;
  }
  return 0;
}

export function cumulate(counts: Int32Array): Float64Array {
  const sums = new Float64Array(counts.length);
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    sum += counts[i] as number;
    sums[i] = sum;
  }
  return sums;
}

/** The first place whose cumulated value is above `u`. */
export function place(cumulated: Float64Array, u: number): number {
  let low = 0;
  let high = cumulated.length - 1;
  while (low < high) {
    const mid = (low + high) >> 1;
    if ((cumulated[mid] as number) > u) high = mid;
    else low = mid + 1;
  }
  return low;
}

/** Draws a point with this main label. */
export function makePoint(world: World, main: number, rng: Rng): Point {
  const labels = [main];
  for (let j = world.relatedAt[main] as number; j < (world.relatedAt[main + 1] as number); j++)
    if (rng.next() < nature.relatedMarked) labels.push(world.related[j] as number);
  const words: number[] = [];
  for (let j = 0; j < nature.wordsPerLabel; j++)
    if (rng.next() < nature.wordKept)
      words.push(world.words[main * nature.wordsPerLabel + j] as number);
  const topic = rng.next() < nature.topicNamed ? topicOf(main) : -1;
  // Ranks of a Zipf law of exponent 1 by its continuous inverse.
  const noise = Array.from(
    { length: rng.int(2, 6) },
    () => Math.floor((nature.noiseWords + 1) ** rng.next()) - 1,
  );
  return { main, labels: labels.sort((a, b) => a - b), words, topic, noise };
}
