/** Numbers for people: one name per way of writing a number, so that documents stay plain data. */
import {
  formatBytes,
  formatCount,
  formatDollars,
  formatNumber,
  formatPercent,
  formatSeconds,
} from "@millrace/core";

/** How a number is written; all have 3 significant digits, "count" shortens thousands. */
export type NumberFormat = keyof typeof writers;

const writers = {
  number: formatNumber,
  count: formatCount,
  percent: formatPercent,
  dollars: formatDollars,
  seconds: formatSeconds,
  bytes: formatBytes,
} as const satisfies Record<string, (value: number) => string>;

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
