/**
 * The best possible ranking of a made-up point. Its words and related labels are independent given the main label, and all
 * labels that explain the words explain them equally well, so the posterior of the main label is its share of the training
 * points among those, and P(c true) = Σ_l P(l | text) ([c = l] + marked [c related to l]) exactly.
 */
import { TopK } from "../metrics/ranking.ts";
import { nature, type Point, topicOf, type World } from "./world.ts";

/** Best labels of one point with their chances of being true, best first. */
export interface Chances {
  readonly labels: Int32Array;
  readonly chances: Float32Array;
}

export class BayesReference {
  readonly k: number;
  readonly #world: World;
  /** Labels that have each word. */
  readonly #at: Int32Array;
  readonly #labels: Int32Array;
  #prior: Chances | null = null;

  constructor(world: World, k: number) {
    this.k = k;
    this.#world = world;
    const at = new Int32Array(world.vocabulary + 1);
    for (const word of world.words) at[word + 1] = (at[word + 1] as number) + 1;
    for (let word = 0; word < world.vocabulary; word++)
      at[word + 1] = (at[word + 1] as number) + (at[word] as number);
    const next = at.slice();
    const labels = new Int32Array(world.words.length);
    for (let j = 0; j < world.words.length; j++) {
      const word = world.words[j] as number;
      const to = next[word] as number;
      next[word] = to + 1;
      labels[to] = Math.floor(j / nature.wordsPerLabel);
    }
    this.#at = at;
    this.#labels = labels;
  }

  /** The `k` labels that are most likely true, from the text alone. */
  rank({ words, topic }: Pick<Point, "words" | "topic">): Chances {
    if (words.length === 0 && topic < 0) {
      this.#prior ??= this.#marginals(range(0, this.#world.labels));
      return this.#prior;
    }
    return this.#marginals(this.#explaining(words, topic));
  }

  /** Labels that could have been the main one. */
  #explaining(words: readonly number[], topic: number): number[] {
    const { labelsPerTopic, wordsPerLabel } = nature;
    if (words.length === 0)
      return [
        ...range(
          topic * labelsPerTopic,
          Math.min((topic + 1) * labelsPerTopic, this.#world.labels),
        ),
      ];
    const first = words[0] as number;
    const found: number[] = [];
    for (let j = this.#at[first] as number; j < (this.#at[first + 1] as number); j++) {
      const label = this.#labels[j] as number;
      if (topic >= 0 && topicOf(label) !== topic) continue;
      const own = this.#world.words.subarray(label * wordsPerLabel, (label + 1) * wordsPerLabel);
      if (words.every((word) => own.includes(word))) found.push(label);
    }
    return found;
  }

  #marginals(mains: Iterable<number>): Chances {
    const { counts, relatedAt, related } = this.#world;
    const chances = new Map<number, number>();
    const add = (label: number, chance: number): void => {
      chances.set(label, (chances.get(label) ?? 0) + chance);
    };
    let total = 0;
    for (const main of mains) {
      const weight = counts[main] as number;
      total += weight;
      add(main, weight);
      for (let j = relatedAt[main] as number; j < (relatedAt[main + 1] as number); j++)
        add(related[j] as number, weight * nature.relatedMarked);
    }
    const top = new TopK(this.k);
    for (const [label, chance] of chances) top.offer(label, chance / total);
    const result = { labels: new Int32Array(this.k), chances: new Float32Array(this.k) };
    top.drain(result.labels, result.chances, 0);
    return result;
  }
}

function* range(from: number, to: number): Generator<number> {
  for (let i = from; i < to; i++) yield i;
}
