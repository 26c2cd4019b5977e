/** Numbers for people: one name per way of writing a number, so that documents stay plain data. */
import {
  formatBytes,
  formatCount,
  formatDollars,
  formatNumber,
  formatPercent,
  formatSeconds,
} from "@millrace/core";

/**
 * How a number is written. All have 3 significant digits but "whole", for things that were counted one by one; "count"
 * shortens thousands.
 */
export type NumberFormat = keyof typeof writers;

const writers = {
  number: (value: number): string => grouped(formatNumber(value)),
  count: formatCount,
  whole: (value: number): string => grouped(String(Math.round(value)), 4),
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

/** `writeNumber` without closing zeros, for numbers that someone chose: limits, ticks, settings. */
export function writeRound(value: number, format: NumberFormat = "number"): string {
  return writeNumber(value, format)
    .replace(/(\.\d*?)0+(?!\d)/, "$1")
    .replace(/\.(?!\d)/, "");
}

/** "3.9 – 4.5"; a dash when neither end is finite. */
export function writeInterval(low: number, high: number, format: NumberFormat = "number"): string {
  if (!Number.isFinite(low) && !Number.isFinite(high)) return NO_NUMBER;
  return `${writeNumber(low, format)} – ${writeNumber(high, format)}`;
}

/** Thousands marked in a whole number of at least `from` digits. */
function grouped(digits: string, from = 5): string {
  return /^-?\d+$/.test(digits) && digits.replace("-", "").length >= from
    ? digits.replace(/\B(?=(\d{3})+$)/g, ",")
    : digits;
}
