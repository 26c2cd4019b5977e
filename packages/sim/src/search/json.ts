/** JSON that keeps the numbers JSON has no word for: a latency quantile is infinite when requests never finished. */

const words = ["Infinity", "-Infinity", "NaN"];

/** Text for `decodeJson`. */
export function encodeJson(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    typeof v === "number" && !Number.isFinite(v) ? { $number: String(v) } : v,
  );
}

/** The value that `encodeJson` was given, without properties that were undefined. Throws SyntaxError. */
export function decodeJson(text: string): unknown {
  return JSON.parse(text, (_key, v: unknown) => {
    if (typeof v !== "object" || v === null || !("$number" in v)) return v;
    return words.includes(String(v.$number)) ? Number(v.$number) : v;
  });
}
