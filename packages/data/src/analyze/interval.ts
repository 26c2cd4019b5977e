/** Measured figures with their doubt. */
import { bootstrapInterval, type Interval, mean, Rng } from "@millrace/core";

/** A mean and the middle 95 % of its bootstrap distribution. */
export interface Measured extends Interval {
  readonly value: number;
  readonly n: number;
}

export function measured(values: readonly number[], seed: number): Measured {
  const interval = bootstrapInterval(values, mean, new Rng(`interval/${seed}`));
  return { value: mean(values), ...interval, n: values.length };
}

/** Mean of a minus mean of b, both resampled independently; not below zero, since a stall cannot be. */
export function difference(a: readonly number[], b: readonly number[], seed: number): Measured {
  const rng = new Rng(`difference/${seed}`);
  const resampled = (values: readonly number[]): number =>
    mean(values.map(() => values[rng.int(0, values.length - 1)] as number));
  const draws = Float64Array.from({ length: 1000 }, () => resampled(a) - resampled(b)).sort();
  const clamp = (x: number): number => Math.max(0, x);
  return {
    value: clamp(mean(a) - mean(b)),
    low: clamp(draws[25] as number),
    high: clamp(draws[974] as number),
    n: Math.min(a.length, b.length),
  };
}
