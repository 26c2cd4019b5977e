/** Fields that configurations share: sizes and durations with units. */
import { z } from "zod";
import { MillraceError } from "../errors.ts";
import { parseBytes, parseSeconds } from "../units.ts";
import { expecting } from "./schema-walk.ts";

function quantity(
  parse: (value: string | number) => number,
  expected: string,
): z.ZodType<number, string | number> {
  const schema = z.union([z.number(), z.string()]).transform((value, context) => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    }
  });
  return expecting(schema, expected);
}

/** A size in bytes: `512MiB`, `5GB`, or a bare number of bytes. */
export const bytesField = quantity(parseBytes, "a size such as 512MiB or 5GB");

/** A duration in seconds: `50ms`, `2s`, or a bare number of seconds. */
export const secondsField = quantity(parseSeconds, "a duration such as 50ms or 2s");
