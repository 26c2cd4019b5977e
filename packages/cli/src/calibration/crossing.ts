/** Where pressure crosses 1 as the rate grows: which rate to try next, and what the rates tried say. Rates are on a log scale. */

/** A rate that was tried, and the worst promised figure over its limit. */
export interface TriedRate {
  readonly rateQps: number;
  readonly pressure: number;
}

/** A rate, or a bound of it where the rates tried do not enclose it. */
export interface FoundRate {
  readonly qps: number;
  readonly bound: "at least" | "at most" | null;
}

/** Beyond the expected crossing, so that the next rate lies on its other side. */
const OVERSHOOT = 0.03;
/** A single step goes no further than this share. */
const MOST_STEP = 0.15;
/** Rates this share apart tell where between them the crossing is, whatever the shape of the pressure. */
const NARROW = 0.06;

/** The rate to try next; `slope` is how pressure grows with the rate (log over log) where two tries do not tell. */
export function nextRate(tried: readonly TriedRate[], first: number, slope: number): number {
  const [below, above] = aroundOne(tried);
  if (below !== null && above !== null) return crossed(below, above);
  const near = below ?? above;
  if (near === null) return first;
  const step = Math.exp(-Math.log(near.pressure) / slope) - 1;
  const past = near === below ? step + OVERSHOOT : step - OVERSHOOT;
  return near.rateQps * (1 + Math.min(MOST_STEP, Math.max(-MOST_STEP, past)));
}

/** Between the two rates around the crossing, log-linear; else the nearest rate, as a bound. */
export function foundRate(tried: readonly TriedRate[]): FoundRate {
  const [below, above] = aroundOne(tried);
  if (below !== null && above !== null) return { qps: crossed(below, above), bound: null };
  const near = below ?? above;
  return { qps: near?.rateQps ?? 0, bound: below === null ? "at most" : "at least" };
}

/** Whether two of the rates enclose the crossing and are so near that it does not matter where between them it is. */
export function narrowed(tried: readonly TriedRate[]): boolean {
  const [below, above] = aroundOne(tried);
  return below !== null && above !== null && above.rateQps <= below.rateQps * (1 + NARROW);
}

/**
 * The neighbours around the crossing. Chance may break promises at a rate and keep them at a higher one: then the highest
 * rate that kept them counts.
 */
function aroundOne(tried: readonly TriedRate[]): readonly [TriedRate | null, TriedRate | null] {
  const sorted = [...tried].sort((a, b) => a.rateQps - b.rateQps);
  const last = sorted.findLastIndex(({ pressure }) => pressure <= 1);
  return [sorted[last] ?? null, sorted[last + 1] ?? null];
}

function crossed(below: TriedRate, above: TriedRate): number {
  const share = Math.log(1 / below.pressure) / Math.log(above.pressure / below.pressure);
  return below.rateQps * (above.rateQps / below.rateQps) ** share;
}
