/** Numbers for people: 3 significant digits and a unit. Machines get the plain numbers of --json instead. */

/** Shown where there is no value. */
const none = "–";

/** Rounded to 3 significant digits, without exponent. */
function three(value: number): string {
  const rounded = Number(value.toPrecision(3));
  if (rounded === 0) return "0";
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)) + 1e-12));
  return rounded.toFixed(Math.min(decimals, 100));
}

function unusual(value: number): string | null {
  if (Number.isNaN(value)) return none;
  if (value === Number.POSITIVE_INFINITY) return "∞";
  if (value === Number.NEGATIVE_INFINITY) return "-∞";
  return null;
}

/** 3 significant digits: `0.0123`, `12.3`, `12300`; whole numbers below 1000 as they are; an exponent outside 1e-3 … 1e15. */
export function formatNumber(value: number): string {
  const word = unusual(value);
  if (word !== null) return word;
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value + 0);
  const rounded = Math.abs(Number(value.toPrecision(3)));
  if (rounded < 1e-3 || rounded >= 1e15) return value.toExponential(2);
  return three(value);
}

/** Picks the largest unit that leaves at least 1 in front of the point. Units ascend; the first also takes what is smaller. */
function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  const word = unusual(value);
  if (word !== null) return word;
  const rounded = Math.abs(Number(value.toPrecision(3)));
  let [size, name] = units[0] as readonly [number, string];
  for (const [s, n] of units) {
    if (rounded < s) break;
    size = s;
    name = n;
  }
  // 12 digits drop the noise of the division, so that 0.05 s is 50 ms and not 50.0 ms.
  const scaledValue = Number((value / size).toPrecision(12));
  return Number.isInteger(scaledValue) && Math.abs(scaledValue) < 1000
    ? `${scaledValue + 0}${name}`
    : `${three(scaledValue)}${name}`;
}

/** `512 B`, `80.0 GB`: decimal units. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, [
    [1, " B"],
    [1e3, " kB"],
    [1e6, " MB"],
    [1e9, " GB"],
    [1e12, " TB"],
    [1e15, " PB"],
  ]);
}

/** `12.3 µs`, `50 ms`, `1.25 s`, `3.50 min`, `2.10 h`; minutes start at 120 s, hours at 120 min. */
export function formatSeconds(seconds: number): string {
  const size = Math.abs(Number(seconds.toPrecision(3)));
  if (size === 0) return "0 s";
  if (size >= 7200) return scaled(seconds / 3600, [[1, " h"]]);
  if (size >= 120) return scaled(seconds / 60, [[1, " min"]]);
  return scaled(seconds * 1e6, [
    [1, " µs"],
    [1e3, " ms"],
    [1e6, " s"],
  ]);
}

/** `987`, `12.3k`, `4.56M`, `7.00B`. */
export function formatCount(count: number): string {
  return scaled(count, [
    [1, ""],
    [1e3, "k"],
    [1e6, "M"],
    [1e9, "B"],
    [1e12, "T"],
  ]);
}

/** `$0.0123`, `$4.20`, `$1,230`: cents from 1 to 100 dollars, whole dollars with thousands marked from 100. */
export function formatDollars(dollars: number): string {
  const word = unusual(dollars);
  if (word !== null) return word;
  const size = Math.abs(dollars);
  const sign = dollars < 0 ? "-" : "";
  if (size === 0) return "$0";
  if (size < 0.995) return `${sign}$${three(size)}`;
  if (size < 99.995) return `${sign}$${size.toFixed(2)}`;
  return `${sign}$${size.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",")}`;
}

/** A share (0 … 1) as `12.3%`. */
export function formatPercent(share: number): string {
  const word = unusual(share);
  if (word !== null) return word;
  // What is left of subtractions of equal numbers is nothing.
  const percent = Math.abs(share) < 1e-12 ? 0 : Number((share * 100).toPrecision(12));
  return `${Number.isInteger(percent) ? percent + 0 : three(percent)}%`;
}
