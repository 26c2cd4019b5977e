/**
 * Placements built from below, as a wall is: the lowest stretch of the skyline takes the first buffer of a ranking whose
 * life fits into it, or is raised to its lower neighbour. Buffers that come and go within others' lives nest by
 * themselves, which orders of gaps find only by luck. Sekiyama, Imamichi, Imai and Raymond, "Profile-guided memory
 * optimization for deep neural networks" (2018), section 4, for the rule; the search over rankings is ours.
 */
import type { Rng } from "@millrace/core";

/** Lives with sizes that are aligned. */
export interface Life {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Where lives lie. */
export interface Wall {
  /** All lives, the first ones preferred. */
  readonly ranking: readonly number[];
  readonly offsets: Float64Array;
  /** From 0 to past the last one. */
  readonly bytes: number;
  /** Bytes beyond the goal it was built for, summed over lives. */
  readonly overhang: number;
}

/** Builds walls of one list of lives. */
export class Skyline {
  readonly count: number;
  /** Lives and stretches looked at so far. */
  work = 0;
  readonly #sizes: Float64Array;
  /** Events as places among those at which something begins or has ended; `to` is the first one after the life. */
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  readonly #events: number;
  // Stretches of the skyline from left to right.
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #heights: number[] = [];

  constructor(lives: readonly Life[]) {
    this.count = lives.length;
    const borders = new Set(lives.flatMap(({ from, to }) => [from, to + 1]));
    const places = new Map([...borders].sort((a, b) => a - b).map((event, i) => [event, i]));
    this.#events = places.size - 1;
    this.#from = Int32Array.from(lives, ({ from }) => places.get(from) as number);
    this.#to = Int32Array.from(lives, ({ to }) => places.get(to + 1) as number);
    this.#sizes = Float64Array.from(lives, ({ size }) => size);
  }

  /** The wall of a ranking; null as soon as more than `most` bytes in sum lie beyond the goal. */
  build(ranking: readonly number[], goal: number, most = Number.POSITIVE_INFINITY): Wall | null {
    const offsets = new Float64Array(this.count);
    const left = [...ranking];
    this.#replace(0, this.#heights.length, [0, this.#events, 0]);
    let [bytes, overhang] = [0, 0];
    while (left.length > 0) {
      const lowest = this.#lowest();
      const place = this.#first(left, lowest);
      if (place < 0) {
        this.#raise(lowest);
        continue;
      }
      const [i] = left.splice(place, 1) as [number];
      const height = this.#heights[lowest] as number;
      offsets[i] = height;
      const top = height + (this.#sizes[i] as number);
      bytes = Math.max(bytes, top);
      overhang += Math.max(0, top - goal);
      if (overhang > most) return null;
      this.#cover(lowest, i, top);
    }
    return { ranking, offsets, bytes, overhang };
  }

  /** Ends of lives that lie beyond the goal, as places in the wall's ranking. */
  beyond({ ranking, offsets }: Wall, goal: number): number[] {
    const places: number[] = [];
    ranking.forEach((i, place) => {
      if ((offsets[i] as number) + (this.#sizes[i] as number) > goal) places.push(place);
    });
    return places;
  }

  #lowest(): number {
    const heights = this.#heights;
    let lowest = 0;
    for (let s = 1; s < heights.length; s++)
      if ((heights[s] as number) < (heights[lowest] as number)) lowest = s;
    this.work += heights.length;
    return lowest;
  }

  /** Place of the first life that fits between the ends of a stretch, -1 when none does. */
  #first(left: readonly number[], stretch: number): number {
    const start = this.#starts[stretch] as number;
    const end = this.#ends[stretch] as number;
    for (let place = 0; place < left.length; place++) {
      const i = left[place] as number;
      if ((this.#from[i] as number) < start || (this.#to[i] as number) > end) continue;
      this.work += place;
      return place;
    }
    this.work += left.length;
    return -1;
  }

  /** Lifts a stretch to its lower neighbour; what is then level becomes one. */
  #raise(stretch: number): void {
    const height = Math.min(
      this.#heights[stretch - 1] ?? Number.POSITIVE_INFINITY,
      this.#heights[stretch + 1] ?? Number.POSITIVE_INFINITY,
    );
    this.#heights[stretch] = height;
    this.#join(stretch, stretch + 1);
  }

  /** Puts life i on a stretch, and leaves what remains of it on both sides. */
  #cover(stretch: number, i: number, top: number): void {
    const start = this.#starts[stretch] as number;
    const end = this.#ends[stretch] as number;
    const height = this.#heights[stretch] as number;
    const [from, to] = [this.#from[i] as number, this.#to[i] as number];
    const parts = [from, to, top];
    if (from > start) parts.unshift(start, from, height);
    if (to < end) parts.push(to, end, height);
    this.#replace(stretch, 1, parts);
    this.#join(stretch, stretch + parts.length / 3);
  }

  /** Puts stretches, each as start, end and height, in the place of `count` ones. */
  #replace(at: number, count: number, parts: readonly number[]): void {
    const every = (first: number): number[] => parts.filter((_, p) => p % 3 === first);
    this.#starts.splice(at, count, ...every(0));
    this.#ends.splice(at, count, ...every(1));
    this.#heights.splice(at, count, ...every(2));
  }

  /** Makes one of neighbours of one height between stretches `first` - 1 and `last`. */
  #join(first: number, last: number): void {
    for (let s = Math.min(last, this.#heights.length - 1); s >= Math.max(1, first); s--) {
      if (this.#heights[s] !== this.#heights[s - 1]) continue;
      this.#ends[s - 1] = this.#ends[s] as number;
      this.#starts.splice(s, 1);
      this.#ends.splice(s, 1);
      this.#heights.splice(s, 1);
    }
  }
}

/** Share of what is open that is asked for at once: goals that are out of reach tell moves badly apart. */
const stride = 0.3;
/** Rankings that are searched from. */
const searched = 3;

/** Walls by length of life, size, both, and where memory is full; the lowest first. */
function firstWalls(
  skyline: Skyline,
  lives: readonly Life[],
  crowds: readonly number[],
  goal: number,
): Wall[] {
  const length = ({ from, to }: Life): number => to - from + 1;
  const keys: readonly ((life: Life, i: number) => number)[] = [
    length,
    (life) => life.size * length(life),
    (life) => life.size,
    (_, i) => crowds[i] as number,
  ];
  return keys
    .map((key) => {
      const keyed = lives.map(key);
      const size = (i: number): number => lives[i]?.size ?? 0;
      const ranking = [...keyed.keys()].sort(
        (a, b) => (keyed[b] as number) - (keyed[a] as number) || size(b) - size(a) || a - b,
      );
      return skyline.build(ranking, goal) as Wall;
    })
    .sort((a, b) => a.bytes - b.bytes);
}

/**
 * Looks for low walls: from several rankings, something that lies beyond the goal is ranked higher, or anything anywhere;
 * what does not add to the overhang is kept. The goal is a third of the way to `least`, and moves on when it is reached.
 * `crowds`: most bytes alive during each life. `accept` is given the first walls and every one that is lower than those its
 * ranking led to before; the search ends when it says yes, or when `work` lives and stretches were looked at.
 */
export function searchWalls(
  lives: readonly Life[],
  crowds: readonly number[],
  least: number,
  work: number,
  rng: Rng,
  accept: (wall: Wall) => boolean,
): void {
  const skyline = new Skyline(lives);
  const walls = firstWalls(skyline, lives, crowds, least);
  if (walls.some(accept)) return;
  for (const wall of walls.slice(0, searched))
    if (improve(skyline, wall, least, work / searched, rng, accept)) return;
}

/** Whether a wall was accepted. */
function improve(
  skyline: Skyline,
  start: Wall,
  least: number,
  work: number,
  rng: Rng,
  accept: (wall: Wall) => boolean,
): boolean {
  const until = skyline.work + work;
  const last = skyline.count - 1;
  let best = start;
  let [goal, wall] = aim(skyline, best, least);
  while (best.bytes > least && skyline.work < until) {
    const ranking = [...wall.ranking];
    const move = (from: number, to: number): void => {
      const [i] = ranking.splice(from, 1) as [number];
      ranking.splice(Math.max(0, Math.min(last, to)), 0, i);
    };
    const any = (): number => rng.int(0, last);
    const kind = rng.next();
    if (kind < 0.5) {
      const beyond = skyline.beyond(wall, goal);
      const place = beyond[rng.int(0, beyond.length - 1)] as number;
      move(place, rng.int(0, place));
    } else if (kind < 0.8) move(any(), any());
    else {
      const place = any();
      move(place, place + rng.int(-5, 5));
    }
    if (rng.next() < 0.3) move(any(), any());
    const tried = skyline.build(ranking, goal, wall.overhang);
    if (tried === null) continue;
    wall = tried;
    if (wall.bytes < best.bytes) {
      best = wall;
      if (accept(best)) return true;
    }
    if (wall.overhang === 0) [goal, wall] = aim(skyline, best, least);
  }
  return false;
}

/** The next goal of a wall, and the wall measured by it. */
function aim(skyline: Skyline, wall: Wall, least: number): [number, Wall] {
  const goal = Math.max(least, wall.bytes - Math.max(1, stride * (wall.bytes - least)));
  return [goal, skyline.build(wall.ranking, goal) as Wall];
}
