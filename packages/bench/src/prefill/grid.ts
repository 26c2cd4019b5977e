/** Which prompt lengths are measured, and in which order. */
import { MillraceError, Rng } from "@millrace/core";

/** Powers of two from `shortest` on, and `longest` itself. Throws MillraceError CONFIG_INVALID. */
export function lengthGrid(shortest: number, longest: number): number[] {
  const whole = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;
  if (!whole(shortest) || !whole(longest) || shortest >= longest)
    throw new MillraceError(
      "CONFIG_INVALID",
      `prompt lengths from ${shortest} to ${longest} tokens are no range`,
      { hint: "the shortest is at least 1 token and below the longest" },
    );
  const grid: number[] = [];
  for (let n = shortest; n < longest; n *= 2) grid.push(n);
  // A last power just below the longest would add little and cost a long prompt.
  if (grid.length > 1 && (grid.at(-1) as number) > longest / 1.25) grid.pop();
  return [...grid, longest];
}

/** Lengths in the order given by a user: ascending, without repetition, at least 4. Throws MillraceError CONFIG_INVALID. */
export function checkLengths(lengths: readonly number[]): number[] {
  for (const n of lengths)
    if (!Number.isSafeInteger(n) || n < 1)
      throw new MillraceError("CONFIG_INVALID", `${n} is no prompt length`, {
        hint: "lengths are whole numbers of at least 1 token",
      });
  const distinct = [...new Set(lengths)].sort((a, b) => a - b);
  if (distinct.length < 4)
    throw new MillraceError(
      "CONFIG_INVALID",
      `${distinct.length} prompt lengths cannot be checked against each other`,
      {
        hint: "give at least 4: the curve has three coefficients, and each length is predicted from the others",
      },
    );
  return distinct;
}

/**
 * The order of measuring: `repeats` rounds over all lengths, each round in an order of its own, so that a server that
 * slows down or is disturbed for a while does not bend the curve at one length. Equal seeds give equal orders.
 */
export function interleaved(
  lengths: readonly number[],
  repeats: number,
  seed: number | string,
): number[] {
  const rng = new Rng(seed).fork("prefill-order");
  return Array.from({ length: repeats }, () => {
    const round = [...lengths];
    rng.shuffle(round);
    return round;
  }).flat();
}
