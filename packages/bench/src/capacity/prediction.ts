/** A capacity that is known beforehand, from `millrace plan` or an earlier search, as the start of a live one. */
import { MillraceError } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import { z } from "zod";

/** Where to start, and how far to trust it. */
export interface CapacityPrediction {
  readonly source: string;
  readonly rateQps: number;
  /** Half of the belief is within a factor of 2^width. */
  readonly width: number;
}

/** Predictions of simulators and of another day are off by some percent however narrow their own interval is. */
const LEAST_WIDTH = 0.08;

const positive = z.number().positive();
const interval = z.object({ value: positive, low: z.number().min(0), high: positive });
const planFile = z.object({
  schema: z.literal("millrace.plan/1"),
  best: z.object({ capacityQps: interval }).nullable(),
});
const capacityFile = z.object({
  schema: z.literal("millrace.bench-capacity/1"),
  capacity: z.object({ valueQps: positive, lowQps: z.number().min(0), highQps: positive }),
});
const anyFile = z.discriminatedUnion("schema", [planFile, capacityFile]);

/**
 * Reads plan.json of `millrace plan --out` (the best candidate's capacity per replica, times `replicas`) or the report of
 * an earlier capacity search (as it is). Throws CONFIG_SYNTAX or CONFIG_INVALID with the place.
 */
export function parsePrediction(text: string, file: string, replicas = 1): CapacityPrediction {
  const data = parseConfig(text, { file, schema: anyFile, format: "json" });
  if (data.schema === "millrace.bench-capacity/1") {
    const { valueQps, lowQps, highQps } = data.capacity;
    return { source: file, rateQps: valueQps, width: widthOf(lowQps, highQps, valueQps) };
  }
  if (data.best === null)
    throw new MillraceError(
      "CONFIG_INVALID",
      `${file}: the plan found no deployment, so it predicts no capacity`,
      {
        at: { file },
        hint: "give --start RATE instead",
      },
    );
  const { value, low, high } = data.best.capacityQps;
  return { source: file, rateQps: value * replicas, width: widthOf(low, high, value) };
}

function widthOf(low: number, high: number, value: number): number {
  const half = Math.log2(high / Math.max(low, value / 16)) / 2;
  return Math.min(2, Math.max(LEAST_WIDTH, half));
}
