/**
 * Seeded random streams. One generator (sfc32, Chris Doty-Humphrey, PractRand) with named forks, so that adding a draw
 * in one part of a program never changes the numbers of another.
 */
import { invariant } from "./errors.ts";
import { hash128 } from "./hash.ts";

/** What `shuffle` permutes. */
export type Shuffled =
  | unknown[]
  | Float64Array
  | Float32Array
  | Int32Array
  | Uint32Array
  | Uint8Array;

/**
 * A random stream. Equal seeds give equal numbers on every machine: uint32, next and int are exact integer arithmetic;
 * the other draws add Math.log, which V8 computes itself. A seed names a path: `new Rng(7).fork("arrivals")` is
 * `new Rng("7/arrivals")`. No draw allocates.
 */
export class Rng {
  private readonly path: string;
  private a: number;
  private b: number;
  private c: number;
  private counter = 1;
  private spare = Number.NaN;

  constructor(seed: number | string) {
    this.path = String(seed);
    // MurmurHash3 ends in the splitmix finalizer, so the state is well mixed even for seeds 1, 2, 3.
    const [a, b, c, d] = hash128(this.path);
    this.a = a | 0;
    this.b = b | 0;
    this.c = c | 0;
    this.counter = d | 0;
    for (let i = 0; i < 12; i++) this.uint32();
  }

  /** A stream of its own, which depends on the seed and the name but not on what was drawn so far. */
  fork(name: string): Rng {
    return new Rng(`${this.path}/${name}`);
  }

  /** Uniform over 0 … 2^32 - 1. */
  uint32(): number {
    const t = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (this.c << 21) | (this.c >>> 11);
    this.c = (this.c + t) | 0;
    return t >>> 0;
  }

  /** Uniform over [0, 1), 53 bits. */
  next(): number {
    const high = this.uint32() >>> 5;
    return (high * 0x4000000 + (this.uint32() >>> 6)) / 0x20000000000000;
  }

  /** Uniform over the integers low … high, both included; unbiased for ranges up to 2^32. */
  int(low: number, high: number): number {
    invariant(
      Number.isSafeInteger(low) && Number.isSafeInteger(high) && low <= high,
      `int(${low}, ${high}): not a range of integers`,
    );
    const range = high - low + 1;
    if (range > 0x100000000) return low + Math.floor(this.next() * range);
    const limit = 0x100000000 - (0x100000000 % range);
    let draw = this.uint32();
    while (draw >= limit) draw = this.uint32();
    return low + (draw % range);
  }

  /** Exponential with mean 1 / rate. */
  exponential(rate: number): number {
    return -Math.log(1 - this.next()) / rate;
  }

  /** Normal by Marsaglia's polar method. */
  normal(mean = 0, sd = 1): number {
    if (!Number.isNaN(this.spare)) {
      const z = this.spare;
      this.spare = Number.NaN;
      return mean + sd * z;
    }
    let u: number;
    let v: number;
    let s: number;
    do {
      u = 2 * this.next() - 1;
      v = 2 * this.next() - 1;
      s = u * u + v * v;
    } while (s >= 1 || s === 0);
    const factor = Math.sqrt((-2 * Math.log(s)) / s);
    this.spare = v * factor;
    return mean + sd * u * factor;
  }

  /** Gamma with mean shape * scale, by Marsaglia and Tsang (2000); any shape > 0. */
  gamma(shape: number, scale: number): number {
    invariant(shape > 0 && scale > 0, `gamma(${shape}, ${scale}): both must be above 0`);
    // Below 1 the method needs a boost: G(a) = G(a + 1) * U^(1/a).
    const boost = shape < 1 ? Math.exp(Math.log(1 - this.next()) / shape) : 1;
    const d = (shape < 1 ? shape + 1 : shape) - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const root = 1 + c * x;
      if (root <= 0) continue;
      const v = root * root * root;
      const u = 1 - this.next();
      if (Math.log(u) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v * boost * scale;
    }
  }

  /** Permutes in place, every order equally likely (Fisher and Yates). */
  shuffle(items: Shuffled): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      const held = items[i] as number;
      items[i] = items[j] as number;
      items[j] = held;
    }
  }
}
