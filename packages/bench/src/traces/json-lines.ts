/** Rows of JSON Lines, each checked to be an object. */
import { linesOf, traceError } from "./rows.ts";

export type JsonRow = Readonly<Record<string, unknown>>;

/** Objects with their lines. Throws TRACE_INVALID. */
export function* jsonLines(text: string, file: string): Generator<readonly [JsonRow, number]> {
  for (const [content, line] of linesOf(text)) {
    let value: unknown;
    try {
      value = JSON.parse(content);
    } catch (error) {
      throw traceError(file, line, `this is not JSON: ${(error as Error).message}`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw traceError(file, line, "this is not a JSON object");
    yield [value as JsonRow, line];
  }
}

/** A list of whole numbers, or undefined when the key is absent. */
export function wholeList(
  row: JsonRow,
  key: string,
  file: string,
  line: number,
): readonly number[] | undefined {
  const value = row[key];
  if (value === undefined || value === null) return undefined;
  if (Array.isArray(value) && value.every((one) => Number.isSafeInteger(one)))
    return value as number[];
  throw traceError(file, line, `${key} is not a list of whole numbers`);
}
