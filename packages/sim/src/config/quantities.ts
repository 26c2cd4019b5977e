/**
 * The configuration files of `millrace simulate` and `millrace plan`: schemas, defaults, and the step from what a
 * person wrote to the plain data that the simulator and the search trust. Nothing here touches a file, so an editor in
 * a browser can use it. A schema checks shape and ranges; `resolve…` looks names up and fills defaults that depend on
 * other keys. The JSON schemas under schemas/ are generated from these (tools/schemas.ts).
 *
 * This file: the quantities that keys are made of.
 */
import { MillraceError, parseBytes, parseSeconds } from "@millrace/core";
import { expecting } from "@millrace/core/config";
import { z } from "zod";

/** A whole number of at least 1. */
export const count = z.int().min(1);

/** A finite number above 0. */
export const positive = z.number().positive();

/** A share, 0 … 1. */
export const share = z.number().min(0).max(1);

/** A name that ends up in tables and file names. */
export const name = z.string().min(1);

/** A number or a text with a unit, above 0 (or at least 0). */
function quantity(parse: (value: string | number) => number, expected: string, zero = false) {
  const schema = z.union([z.number(), z.string()]).transform((value, ctx) => {
    try {
      const result = parse(value);
      if (result > 0 || (zero && result === 0)) return result;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
    }
    ctx.addIssue({ code: "custom", message: `expected ${expected}`, input: value });
    return z.NEVER;
  });
  return expecting(schema, expected);
}

/** Bytes: a bare number, or a text with a unit such as `5GB` or `512MiB`. */
export const size = quantity(parseBytes, "a size above 0 such as 512MiB or 5GB");

/** Bytes per second: like `size`, a trailing `/s` is allowed. */
export const bandwidth = quantity(
  (value) => parseBytes(typeof value === "string" ? value.replace(/\s*\/\s*s\s*$/, "") : value),
  "bytes per second above 0 such as 900GB/s",
);

/** Seconds: a bare number, or a text with a unit such as `90s` or `10min`. */
export const duration = quantity(parseSeconds, "a duration above 0 such as 90s or 10min");

/** Like `duration`, and may be 0. */
export const instant = quantity(parseSeconds, "a time such as 0, 90s or 10min", true);
