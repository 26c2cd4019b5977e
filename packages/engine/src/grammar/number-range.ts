/** Numbers between two bounds as grammars: digit by digit, without exponents. */
import { oneOf, sequence } from "./gbnf.ts";

/** A bound; `open` = the bound itself does not belong to the range. */
export interface Bound {
  readonly value: number;
  readonly open: boolean;
}

/** Digits of an integer without a bound. */
const mostDigits = 16;
const freeDigit = "[0-9]";

function digitClass(from: number, to: number): string {
  return from === to ? `"${from}"` : `[${from}-${to}]`;
}

function anyDigits(n: number): string {
  return n === 0 ? "" : n === 1 ? freeDigit : `${freeDigit}{${n}}`;
}

/** Numbers of equally many digits. */
function sameLength(low: string, high: string): string {
  if (low === "") return "";
  if (/^0*$/.test(low) && /^9*$/.test(high)) return anyDigits(low.length);
  const a = Number(low[0]);
  const b = Number(high[0]);
  const rest = low.length - 1;
  if (a === b) return sequence(`"${a}"`, sameLength(low.slice(1), high.slice(1)));
  const parts: string[] = [];
  let from = a;
  let to = b;
  if (!/^0*$/.test(low.slice(1))) {
    parts.push(sequence(`"${a}"`, sameLength(low.slice(1), "9".repeat(rest))));
    from++;
  }
  const tight = !/^9*$/.test(high.slice(1));
  if (tight) to--;
  if (from <= to) parts.push(sequence(digitClass(from, to), anyDigits(rest)));
  if (tight) parts.push(sequence(`"${b}"`, sameLength("0".repeat(rest), high.slice(1))));
  return oneOf(parts);
}

/** Whole numbers low … high (null = no bound), low >= 0; null when there is none. */
function natural(low: bigint, high: bigint | null): string | null {
  if (high !== null && low > high) return null;
  const parts: string[] = [];
  const first = low.toString();
  const most = high === null ? Math.max(mostDigits, first.length) : high.toString().length;
  for (let n = first.length; n <= most; n++) {
    const from = n === first.length ? first : `1${"0".repeat(n - 1)}`;
    if (high === null && n > first.length) {
      const more = most - n;
      parts.push(`[1-9] [0-9]{${n - 1},${n - 1 + more}}`);
      break;
    }
    const to = high !== null && n === most ? high.toString() : "9".repeat(n);
    parts.push(sameLength(from, to));
  }
  return oneOf(parts);
}

/** The range mirrored at zero. */
function negated(low: Bound | null, high: Bound | null): [Bound | null, Bound | null] {
  const turn = (b: Bound | null): Bound | null =>
    b === null ? null : { value: -b.value, open: b.open };
  return [turn(high), turn(low)];
}

/** Whole numbers between two bounds; null when there is none. */
export function integerRange(low: Bound | null, high: Bound | null): string | null {
  const parts: string[] = [];
  const positive = naturals(low, high, 0);
  const negative = naturals(...negated(low, high), 1);
  if (positive !== null) parts.push(positive);
  if (negative !== null) parts.push(`"-" ${negative}`);
  return parts.length === 0 ? null : oneOf(parts);
}

function naturals(low: Bound | null, high: Bound | null, least: number): string | null {
  let from = Math.ceil(low?.value ?? least);
  if (low?.open === true && from === low.value) from++;
  if (high === null) return natural(BigInt(Math.max(from, least)), null);
  let to = Math.floor(high.value);
  if (high.open && to === high.value) to--;
  return natural(BigInt(Math.max(from, least)), BigInt(Math.max(to, -1)));
}

/** Numbers between two bounds; null when there is none, undefined when a bound has no plain decimal notation. */
export function numberRange(low: Bound | null, high: Bound | null): string | null | undefined {
  for (const bound of [low, high])
    if (bound !== null && /e/.test(`${bound.value}`)) return undefined;
  const zero: Bound = { value: 0, open: false };
  const parts: string[] = [];
  const positive = decimals(low === null || low.value < 0 ? zero : low, high);
  const [nLow, nHigh] = negated(low, high);
  // Minus zero is left out: it is zero.
  const negative = decimals(
    nLow === null || nLow.value <= 0 ? { value: 0, open: true } : nLow,
    nHigh,
  );
  if (positive !== null) parts.push(positive);
  if (negative !== null) parts.push(`"-" ${negative}`);
  return parts.length === 0 ? null : oneOf(parts);
}

function decimals(low: Bound, high: Bound | null): string | null {
  if (high !== null && (high.value < low.value || high.value < 0)) return null;
  const [a, lowFraction] = split(low.value);
  const parts: string[] = [];
  const push = (whole: string | null, fraction: string | null): void => {
    if (whole !== null && fraction !== null) parts.push(sequence(whole, fraction));
  };
  if (high === null) {
    push(natural(a, a), fractions(lowFraction, low.open, null, false));
    push(natural(a + 1n, null), fractions(null, false, null, false));
  } else {
    const [b, highFraction] = split(high.value);
    if (a === b) push(natural(a, a), fractions(lowFraction, low.open, highFraction, high.open));
    else {
      push(natural(a, a), fractions(lowFraction, low.open, null, false));
      push(natural(a + 1n, b - 1n), fractions(null, false, null, false));
      push(natural(b, b), fractions(null, false, highFraction, high.open));
    }
  }
  return parts.length === 0 ? null : oneOf(parts);
}

function split(value: number): [bigint, string] {
  const [whole = "0", fraction = ""] = `${value}`.split(".");
  return [BigInt(whole), fraction];
}

/** The optional fraction of a number whose whole part equals the bounds'; null = no bound, or nothing possible. */
function fractions(
  low: string | null,
  lowOpen: boolean,
  high: string | null,
  highOpen: boolean,
): string | null {
  const none = (low === null || (low === "" && !lowOpen)) && !(high === "" && highOpen);
  const some = behindPoint(low, lowOpen, high, highOpen, false);
  if (some === null) return none ? "" : null;
  const fraction = `"." ${some}`;
  return none ? `(${fraction})?` : fraction;
}

/** Digits behind the point, compared with what is left of the bounds' digits; `mayEnd` = no further digit is needed. */
function behindPoint(
  low: string | null,
  lowOpen: boolean,
  high: string | null,
  highOpen: boolean,
  mayEnd: boolean,
): string | null {
  const least = low === "" && !lowOpen ? null : low;
  const ends = mayEnd && least === null && !(high === "" && highOpen);
  if (least === null && high === null) return mayEnd ? `${freeDigit}{0,16}` : `${freeDigit}{1,16}`;
  if (least === "" && high === null) return `"0"{0,8} [1-9] ${freeDigit}{0,8}`;
  if (least === null && high === "") {
    if (highOpen) return null;
    return mayEnd ? `"0"{0,8}` : `"0"{1,8}`;
  }
  const from = least === null ? -1 : Number(least[0] ?? "0");
  const to = high === null ? 10 : Number(high[0] ?? "0");
  if (least === "" && high === "") return null;
  const parts: string[] = [];
  const tight = (digit: number, l: string | null, h: string | null): void => {
    const rest = behindPoint(l, lowOpen, h, highOpen, true);
    if (rest !== null) parts.push(sequence(`"${digit}"`, rest));
  };
  const lowRest = least === null ? null : least.slice(1);
  const highRest = high === null ? null : high.slice(1);
  if (from === to) tight(from, lowRest, highRest);
  else if (from < to) {
    if (from >= 0) tight(from, lowRest, null);
    if (from + 1 <= to - 1) parts.push(`${digitClass(from + 1, to - 1)} ${freeDigit}{0,16}`);
    if (to <= 9) tight(to, null, highRest);
  }
  if (parts.length === 0) return ends ? "" : null;
  return ends ? `(${parts.join(" | ")})?` : oneOf(parts);
}
