/**
 * The fluidity-index as Etalon computes it: the same rule as fluidity.ts, but on floats in seconds, where 0.15 // 0.05 is
 * 2. Kept apart, for comparison with published figures only; digit for digit what its Python gives.
 */

/** Etalon's counts of one stream. A stream without tokens has index 1 there. */
export interface EtalonScore {
  readonly met: number;
  readonly missed: number;
  readonly index: number;
}

/** Scores a stream given in whole microseconds, by float arithmetic on seconds. `gapsUs[0]` is the time to first token. */
export function scoreEtalon(
  gapsUs: ArrayLike<number>,
  ttftTargetUs: number,
  tbtTargetUs: number,
): EtalonScore {
  const ttft = ttftTargetUs / 1e6;
  const tbt = tbtTargetUs / 1e6;
  let met = 0;
  let missed = 0;
  let slack = 0;
  for (let i = 0; i < gapsUs.length; i++) {
    const gap = (gapsUs[i] as number) / 1e6;
    const target = i === 0 ? ttft : tbt;
    if (gap <= target + slack) {
      met++;
      slack += target - gap;
      continue;
    }
    // A late first token counts from its own deadline, a later one in whole periods: equal in integers, not in floats.
    missed += i === 0 ? 1 + floorDivide(gap - slack - ttft, tbt) : floorDivide(gap - slack, tbt);
    slack = 0;
  }
  const total = met + missed;
  return { met, missed, index: total > 0 ? 1 - missed / total : 1 };
}

/** Python's `a // b` on floats for b > 0: from the exact remainder, then rounded down. */
export function floorDivide(a: number, b: number): number {
  const remainder = a % b;
  const quotient = (a - remainder) / b - (remainder < 0 ? 1 : 0);
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}
