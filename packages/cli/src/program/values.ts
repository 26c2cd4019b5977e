/** Values of flags: whole numbers in a range. */
import { MillraceError } from "@millrace/core";

/** Reads a whole number of at least `least`. */
export function wholeNumber(flag: string, least: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && Number.isSafeInteger(number) && number >= least) return number;
    throw new MillraceError(
      "USAGE",
      `${flag}: expected a whole number of at least ${least}, got ${JSON.stringify(value)}`,
    );
  };
}
