/**
 * The configuration files of `millrace simulate` and `millrace plan`: schemas, defaults, and the step from what a
 * person wrote to the plain data that the simulator and the search trust. Nothing here touches a file, so an editor in
 * a browser can use it. A schema checks shape and ranges; `resolve…` looks names up and fills defaults that depend on
 * other keys. The JSON schemas under schemas/ are generated from these (tools/schemas.ts).
 *
 * This file: the quantities that keys are made of.
 */
import { MillraceError, parseBytes } from "@millrace/core";
import { z } from "zod";

/** A whole number of at least 1. */
export const count = z.int().min(1);

/** A finite number above 0. */
export const positive = z.number().positive();

/** A share, 0 … 1. */
export const share = z.number().min(0).max(1);

/** A name that ends up in tables and file names. */
export const name = z.string().min(1);

function readBytes(value: string | number, ctx: z.RefinementCtx<string | number>): number {
  try {
    const bytes = typeof value === "number" ? value : parseBytes(value.replace(/\/s$/, ""));
    if (bytes > 0) return bytes;
    ctx.addIssue({ code: "custom", message: "must be above 0", input: value });
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    ctx.addIssue({ code: "custom", message: error.message, input: value });
  }
  return z.NEVER;
}

/** Bytes: a bare number, or a text with a unit such as `5GB` or `512MiB`. */
export const size = z.union([z.number(), z.string()]).transform(readBytes);

/** Bytes per second: like `size`, a trailing `/s` is allowed. */
export const bandwidth = size;
