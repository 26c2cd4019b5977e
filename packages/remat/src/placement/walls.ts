/** A search for low walls (skyline.ts): over rankings, by what lies beyond a goal that moves down. */
import type { Rng } from "@millrace/core";
import { type Life, Skyline, type Wall } from "./skyline.ts";

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
