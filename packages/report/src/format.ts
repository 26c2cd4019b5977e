/** Numbers for people: one name per way of writing a number, so that documents stay plain data. */

/** How a number is written; "number" has 3 significant digits. */
export type NumberFormat = "number" | "count" | "percent" | "dollars" | "seconds" | "bytes";

const three = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

const writers: Readonly<Record<NumberFormat, (value: number) => string>> = {
  number: (v) => three.format(v),
  count: (v) => whole.format(v),
  percent: (v) => `${three.format(v * 100)} %`,
  dollars: (v) => `$${three.format(v)}`,
  seconds: (v) => (v < 1 ? `${three.format(v * 1e3)} ms` : `${three.format(v)} s`),
  bytes: (v) => `${three.format(v / 1e9)} GB`,
};

/** What stands where there is no number. */
export const NO_NUMBER = "–";

/** `value` written as `format` says; a dash when it is not finite. */
export function writeNumber(value: number, format: NumberFormat = "number"): string {
  return Number.isFinite(value) ? writers[format](value) : NO_NUMBER;
}

/** "3.9 – 4.5"; a dash when neither end is finite. */
export function writeInterval(low: number, high: number, format: NumberFormat = "number"): string {
  if (!Number.isFinite(low) && !Number.isFinite(high)) return NO_NUMBER;
  return `${writeNumber(low, format)} – ${writeNumber(high, format)}`;
}
