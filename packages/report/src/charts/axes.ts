/** Axes that all charts share: ticks at round numbers, labels for people, quiet lines. */
import * as Plot from "@observablehq/plot";
import { type NumberFormat, writeRound } from "../format.ts";
import { role } from "./palette.ts";

/** An axis of numbers. */
export interface AxisSpec {
  readonly label: string;
  readonly format?: NumberFormat;
  readonly log?: boolean;
}

/** Lowest and highest finite value; null when there is none. Positive values only when `log`. */
export function extent(values: Iterable<number>, log = false): [number, number] | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const v of values) {
    if (!Number.isFinite(v) || (log && v <= 0)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : null;
}

/** A domain that is never empty: a single value gets room on both sides. */
export function domainOf(range: readonly [number, number], log = false): [number, number] {
  const [low, high] = range;
  if (high > low) return [low, high];
  if (log) return [low / 2, low * 2];
  return low === 0 ? [0, 1] : [Math.min(0, low * 2), Math.max(0, low * 2)];
}

/** Round tick values inside a domain: about `count`, 1-2-5 steps, or powers of ten when `log` spans many. */
export function tickValues(
  domain: readonly [number, number],
  count: number,
  log = false,
): number[] {
  return log ? logTicks(domain, count) : linearTicks(domain, count);
}

function linearTicks([low, high]: readonly [number, number], count: number): number[] {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((m) => m * power >= raw) ?? 10);
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++)
    ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function logTicks([low, high]: readonly [number, number], count: number): number[] {
  const decades = Math.log10(high / low);
  const multiples = decades * 3 <= count ? [1, 2, 5] : decades * 2 <= count ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil(decades / count));
  const ticks: number[] = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) {
    if (p % stride !== 0) continue;
    for (const m of multiples) {
      const tick = Number((m * 10 ** p).toPrecision(12));
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks.length > 1 || decades > 0.5 ? ticks : linearTicks([low, high], count);
}

/** What both axes share: no tick lines, quiet labels. */
function labels(spec: AxisSpec) {
  return {
    tickSize: 0,
    tickPadding: 8,
    // As text: Plot would blank some of the labels of a logarithmic axis.
    text: (v: number) => writeRound(v, spec.format),
    label: spec.label === "" ? null : spec.label,
    labelArrow: "none" as const,
    fill: role("muted"),
  };
}

/** Marks of a horizontal axis: labels below, no tick lines, a label at the right end. */
export function axisX(
  domain: readonly [number, number],
  spec: AxisSpec,
  count: number,
): Plot.Markish[] {
  const ticks = tickValues(domain, count, spec.log);
  return [
    Plot.gridX(ticks, { stroke: role("grid"), strokeOpacity: 1 }),
    Plot.axisX(ticks, { ...labels(spec), labelAnchor: "center", labelOffset: 36 }),
  ];
}

/** Marks of a vertical axis: labels at the left, a quiet grid. */
export function axisY(
  domain: readonly [number, number],
  spec: AxisSpec,
  count: number,
): Plot.Markish[] {
  const ticks = tickValues(domain, count, spec.log);
  return [
    Plot.gridY(ticks, { stroke: role("grid"), strokeOpacity: 1 }),
    Plot.axisY(ticks, labels(spec)),
  ];
}

/** Scale options of an axis whose marks are drawn by `axisX` and `axisY`. */
export function scaleOf(domain: readonly [number, number], log = false): Plot.ScaleOptions {
  return { type: log ? "log" : "linear", domain: [...domain], axis: null };
}
