/** Reads numbers from bytes: whole ids and decimal values, without making strings for the usual forms. */
const decoder = new TextDecoder();

/** A position in a line and the last number read there. */
export interface Cursor {
  at: number;
  value: number;
}

/** Reads a whole number of at most 15 digits at the cursor; false, and no move, where there is none. */
export function readId(bytes: Uint8Array, cursor: Cursor, to: number): boolean {
  let at = cursor.at;
  let value = 0;
  while (at < to) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
    at++;
  }
  if (at === cursor.at || at - cursor.at > 15) return false;
  cursor.at = at;
  cursor.value = value;
  return true;
}

/** Reads a decimal number up to the next space; false where it is not a number, or not finite as f32. */
export function readValue(bytes: Uint8Array, cursor: Cursor, to: number): boolean {
  const from = cursor.at;
  let at = from;
  const negative = bytes[at] === 45;
  if (negative) at++;
  let mantissa = 0;
  let digits = 0;
  let decimals = 0;
  let point = false;
  for (; at < to; at++) {
    const byte = bytes[at] as number;
    if (byte >= 48 && byte <= 57) {
      mantissa = mantissa * 10 + byte - 48;
      digits++;
      if (point) decimals++;
    } else if (byte === 46 && !point) point = true;
    else break;
  }
  if (digits > 0 && digits <= 15 && (at === to || isSpace(bytes[at] as number))) {
    const value = mantissa / 10 ** decimals;
    cursor.at = at;
    cursor.value = negative ? -value : value;
    return true;
  }
  // Exponents and long mantissas are rare; the language's own reader is exact.
  while (at < to && !isSpace(bytes[at] as number)) at++;
  const text = decoder.decode(bytes.subarray(from, at));
  const value = text === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(Math.fround(value))) return false;
  cursor.at = at;
  cursor.value = value;
  return true;
}

export function isSpace(byte: number): boolean {
  return byte === 32 || byte === 9;
}

export function skipSpaces(bytes: Uint8Array, cursor: Cursor, to: number): void {
  while (cursor.at < to && isSpace(bytes[cursor.at] as number)) cursor.at++;
}

/** The text around a position, for a message. */
export function excerpt(bytes: Uint8Array, at: number, to: number): string {
  let end = at;
  while (end < to && end < at + 24 && !isSpace(bytes[end] as number)) end++;
  return JSON.stringify(decoder.decode(bytes.subarray(at, end)));
}
