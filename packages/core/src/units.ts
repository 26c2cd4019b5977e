/** Sizes and times with units, as people write them in configs and on the command line. Inside, bytes and seconds only. */
import { MillraceError, type Place } from "./errors.ts";

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  p: 1e15,
  pb: 1e15,
  ki: 2 ** 10,
  kib: 2 ** 10,
  mi: 2 ** 20,
  mib: 2 ** 20,
  gi: 2 ** 30,
  gib: 2 ** 30,
  ti: 2 ** 40,
  tib: 2 ** 40,
  pi: 2 ** 50,
  pib: 2 ** 50,
};

const secondUnits: Readonly<Record<string, number>> = {
  "": 1,
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  μs: 1e-6,
  ms: 1e-3,
  s: 1,
  min: 60,
  m: 60,
  h: 3600,
  d: 86_400,
};

const quantity = /^\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?\s*([a-zµμ]*)\s*$/i;

/** The number times its unit, or NaN when it is not a finite quantity of at least 0. */
function parseQuantity(value: string | number, units: Readonly<Record<string, number>>): number {
  if (typeof value === "number") return Number.isFinite(value) && value >= 0 ? value : Number.NaN;
  const match = quantity.exec(value);
  if (match === null) return Number.NaN;
  const name = (match[3] ?? "").toLowerCase();
  const unit = Object.hasOwn(units, name) ? units[name] : undefined;
  if (unit === undefined) return Number.NaN;
  const number = Number(`${match[1]}${match[2] ?? ""}`);
  // Dividing by 1000 is exact where multiplying by 0.001 is not: "50ms" is 0.05.
  const result = unit < 1 ? number / Math.round(1 / unit) : number * unit;
  return Number.isFinite(result) ? result : Number.NaN;
}

/**
 * Bytes, a whole number: `5GB` is 5e9, `512MiB` is 512 * 2^20, a bare number is bytes. Upper and lower case are one.
 * Throws MillraceError CONFIG_INVALID that names `what` (a config path or flag) and the value.
 */
export function parseBytes(value: string | number, what = "size", at?: Place): number {
  const bytes = Math.round(parseQuantity(value, byteUnits));
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new MillraceError(
    "CONFIG_INVALID",
    `${what}: expected a size in bytes, got ${JSON.stringify(value)}`,
    {
      hint: "write a size with its unit, such as 512MiB or 5GB; a bare number is bytes",
      ...(at && { at }),
    },
  );
}

/** Seconds: `50ms` is 0.05, `2min` is 120, a bare number is seconds. Throws like parseBytes. */
export function parseSeconds(value: string | number, what = "duration", at?: Place): number {
  const seconds = parseQuantity(value, secondUnits);
  if (!Number.isNaN(seconds)) return seconds;
  throw new MillraceError(
    "CONFIG_INVALID",
    `${what}: expected a duration, got ${JSON.stringify(value)}`,
    {
      hint: "write a duration with its unit, such as 50ms, 2s or 10min; a bare number is seconds",
      ...(at && { at }),
    },
  );
}
