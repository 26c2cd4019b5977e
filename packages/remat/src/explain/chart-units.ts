/** Units of a chart's axes, so that what stands beside it in words is found on it. */
import { formatBytes, formatNumber, formatPercent, formatSeconds } from "@millrace/core";

/** A unit: what values are divided by, and its name. */
interface Unit {
  readonly by: number;
  readonly name: string;
}

/** The largest unit of which `most` is at least one. */
function unitOf(most: number, units: readonly Unit[]): Unit {
  return units.find(({ by }) => most >= by) ?? (units.at(-1) as Unit);
}

const sizes: readonly Unit[] = [
  { by: 1e9, name: "GB" },
  { by: 1e6, name: "MB" },
  { by: 1e3, name: "kB" },
  { by: 1, name: "B" },
];
const times: readonly Unit[] = [
  { by: 1, name: "s" },
  { by: 1e-3, name: "ms" },
  { by: 1e-6, name: "µs" },
];
const none: Unit = { by: 1, name: "" };

/** How sizes and times are written and drawn; what is not physical has no unit. */
export function chartUnits(physical: boolean, mostBytes: number, mostSeconds: number) {
  const size = physical ? unitOf(mostBytes, sizes) : none;
  const time = physical ? unitOf(mostSeconds, times) : none;
  const label = (what: string, { name }: Unit): string =>
    name === "" ? what : `${what} (${name})`;
  return {
    /** In words. */
    size: physical ? formatBytes : formatNumber,
    time: physical ? formatSeconds : formatNumber,
    /** On an axis. */
    sizeAt: (bytes: number): number => bytes / size.by,
    timeAt: (seconds: number): number => seconds / time.by,
    sizeLabel: (what: string): string => label(what, size),
    timeLabel: (what: string): string => label(what, time),
  };
}

/** The change of a step's time in words: `12.3% more time`, or less where a plan is faster than what it is held against. */
export function changeOfTime(time: number, reference: number): string {
  const change = time / reference - 1;
  return `${formatPercent(Math.abs(change))} ${change < 0 ? "less" : "more"} time`;
}
