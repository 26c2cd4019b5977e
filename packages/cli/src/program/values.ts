/** Values of flags: numbers in a range. */
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

/** Reads a number of `least` … `most`. */
export function decimal(flag: string, least: number, most: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (value.trim() !== "" && number >= least && number <= most) return number;
    throw new MillraceError(
      "USAGE",
      `${flag}: expected a number of ${least} to ${most}, got ${JSON.stringify(value)}`,
    );
  };
}
