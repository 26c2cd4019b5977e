/** Reading a prefill file. Writing it is JSON.stringify of a PrefillReport. */
import { MillraceError } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import { z } from "zod";
import type { PrefillCurve } from "../contracts.ts";
import { PREFILL_SCHEMA } from "./report.ts";

const coefficient = z.number().min(0);
const tokens = z.number().min(1);

/** What a reader relies on; everything else in the file tells how the curve was found. */
export const prefillFileSchema = z.object({
  schema: z.literal(PREFILL_SCHEMA),
  curve: z.object({
    constant: coefficient,
    linear: coefficient,
    quadratic: coefficient,
    minTokens: tokens,
    maxTokens: tokens,
  }),
});

/** The curve of the text of `file`. Throws CONFIG_SYNTAX or CONFIG_INVALID with the place, or PROFILE_INVALID. */
export function parsePrefillFile(text: string, file: string): PrefillCurve {
  const { curve } = parseConfig(text, { file, schema: prefillFileSchema, format: "json" });
  const { constant, linear, quadratic, minTokens, maxTokens } = curve;
  if (minTokens > maxTokens || !(constant + linear + quadratic > 0))
    throw new MillraceError(
      "PROFILE_INVALID",
      `the prefill curve of ${file} covers ${minTokens} to ${maxTokens} tokens with coefficients ${constant}, ${linear}, ${quadratic}`,
      { at: { file }, hint: "measure it again: millrace bench prefill --url …" },
    );
  return curve;
}
