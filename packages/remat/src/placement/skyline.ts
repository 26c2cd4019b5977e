/**
 * Placements built from below, as a wall is: the lowest stretch of the skyline takes the first buffer of a ranking whose
 * life fits into it, or is raised to its lower neighbour. Buffers that come and go within others' lives nest by
 * themselves, which orders of gaps find only by luck. Sekiyama, Imamichi, Imai and Raymond, "Profile-guided memory
 * optimization for deep neural networks" (2018), for the rule; the search over rankings (walls.ts) is ours.
 */

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
  /** Lives in the order of their beginnings, and where those of each event start among them. */
  readonly #begun: Int32Array;
  readonly #bucket: Int32Array;
  /** Of a wall in the making: place of each life in the ranking, -1 once it lies; the next one that does not lie yet. */
  readonly #rank: Int32Array;
  readonly #next: Int32Array;
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
    this.#begun = Int32Array.from(lives.keys()).sort(
      (a, b) => (this.#from[a] as number) - (this.#from[b] as number),
    );
    this.#bucket = new Int32Array(places.size + 1);
    for (const from of this.#from) this.#bucket[from + 1] = (this.#bucket[from + 1] as number) + 1;
    for (let e = 0; e < places.size; e++)
      this.#bucket[e + 1] = (this.#bucket[e + 1] as number) + (this.#bucket[e] as number);
    this.#rank = new Int32Array(this.count);
    this.#next = new Int32Array(this.count + 1);
  }

  /** The wall of a ranking; null as soon as more than `most` bytes in sum lie beyond the goal. */
  build(ranking: readonly number[], goal: number, most = Number.POSITIVE_INFINITY): Wall | null {
    const offsets = new Float64Array(this.count);
    ranking.forEach((i, place) => {
      this.#rank[i] = place;
    });
    for (let place = 0; place <= this.count; place++) this.#next[place] = place;
    this.#starts.splice(0, Number.POSITIVE_INFINITY, 0);
    this.#ends.splice(0, Number.POSITIVE_INFINITY, this.#events);
    this.#heights.splice(0, Number.POSITIVE_INFINITY, 0);
    let [bytes, overhang] = [0, 0];
    for (let left = this.count; left > 0; ) {
      const lowest = this.#lowest();
      const i = this.#first(ranking, left, lowest);
      if (i < 0) {
        this.#raise(lowest);
        continue;
      }
      left--;
      const place = this.#rank[i] as number;
      this.#rank[i] = -1;
      this.#next[place] = place + 1;
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

  /** The first life of the ranking that fits between the ends of a stretch, -1 when none of the `left` ones does. */
  #first(ranking: readonly number[], left: number, stretch: number): number {
    const start = this.#starts[stretch] as number;
    const end = this.#ends[stretch] as number;
    if (end - start > left) {
      for (let place = this.#after(0); place < this.count; place = this.#after(place + 1)) {
        this.work++;
        const i = ranking[place] as number;
        if ((this.#from[i] as number) >= start && (this.#to[i] as number) <= end) return i;
      }
      return -1;
    }
    // Of a short stretch, the lives that begin on it are fewer.
    let best = -1;
    let bestRank = this.count;
    const until = this.#bucket[end] as number;
    const from = this.#bucket[start] as number;
    this.work += until - from;
    for (let k = from; k < until; k++) {
      const i = this.#begun[k] as number;
      const rank = this.#rank[i] as number;
      if (rank < 0 || rank >= bestRank || (this.#to[i] as number) > end) continue;
      best = i;
      bestRank = rank;
    }
    return best;
  }

  /** The first place from `place` on whose life does not lie yet. */
  #after(place: number): number {
    let at = place;
    while (at < this.count && (this.#next[at] as number) !== at) at = this.#next[at] as number;
    // Later walks take the short way.
    for (let p = place; p < at; ) {
      const next = this.#next[p] as number;
      this.#next[p] = at;
      p = next;
    }
    return at;
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
    // What remains on the right, then the life itself, then what remains on the left.
    let parts = 1;
    if (to < end) {
      this.#insert(stretch + 1, to, end, height);
      parts++;
    }
    this.#starts[stretch] = from;
    this.#ends[stretch] = to;
    this.#heights[stretch] = top;
    if (from > start) {
      this.#insert(stretch, start, from, height);
      parts++;
    }
    this.#join(stretch, stretch + parts);
  }

  #insert(at: number, start: number, end: number, height: number): void {
    this.#starts.splice(at, 0, start);
    this.#ends.splice(at, 0, end);
    this.#heights.splice(at, 0, height);
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
