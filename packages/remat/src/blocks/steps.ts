/** Functions of memory that change at few places: computed where they are asked for, and no more often than they change. */

/** A value and the memory that it was computed for. */
export interface Level<T> {
  readonly room: number;
  readonly value: T;
  readonly id: number;
}

/** Which way a request is rounded: `up` flatters (bounds), `down` keeps to what is there (plans). */
export type Rounding = "up" | "down";

/** A step function of memory. Values between two equal ones are not computed. */
export class StepFunction<T> {
  private readonly compute: (room: number) => T;
  private readonly same: (a: T, b: T) => boolean;
  private readonly levels: Level<T>[] = [];
  /** A request may be answered by a level that is so far away. */
  resolution: number;

  constructor(compute: (room: number) => T, same: (a: T, b: T) => boolean, resolution: number) {
    this.compute = compute;
    this.same = same;
    this.resolution = resolution;
  }

  /** The level for a request: of at least (`up`) or at most (`down`) so much memory. */
  at(request: number, rounding: Rounding): Level<T> {
    const { levels, resolution } = this;
    if (levels.length === 0) {
      const room = Number.POSITIVE_INFINITY;
      levels.push({ room, value: this.compute(room), id: nextId++ });
    }
    let high = 0;
    while ((levels[high] as Level<T>).room < request) high++;
    const above = levels[high] as Level<T>;
    const below = levels[high - 1];
    if (above.room === request) return above;
    if (below !== undefined && this.same(below.value, above.value))
      return rounding === "up" ? above : below;
    if (rounding === "up" && above.room - request <= resolution) return above;
    if (rounding === "down" && below !== undefined && request - below.room <= resolution)
      return below;
    const level = { room: request, value: this.compute(request), id: nextId++ };
    levels.splice(high, 0, level);
    return level;
  }
}

let nextId = 0;

/** Whether two arrays hold the same numbers. */
export function equalArrays(a: Float64Array, b: Float64Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
