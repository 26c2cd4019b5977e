/** Schema of a fitted workload shape as a file, what `millrace workloads fit --out` writes. */
import type { WorkloadShape } from "@millrace/serving";
import { z } from "zod";

const ascending = (values: readonly number[]) =>
  values.every((value, i) => i === 0 || value >= (values[i - 1] ?? 0));

const lengthDistribution = z
  .strictObject({
    mean: z.number().positive(),
    tokens: z.array(z.number().min(0)).min(2).refine(ascending, { error: "must ascend" }),
    cdf: z.array(z.number().min(0).max(1)).min(2).refine(ascending, { error: "must ascend" }),
  })
  .refine((d) => d.tokens.length === d.cdf.length && d.cdf[0] === 0 && d.cdf.at(-1) === 1, {
    error: "needs as many tokens as cdf entries, and cdf from 0 to 1",
  });

const share = z.number().min(0).max(1);

/** A shape file. */
export const workloadShape: z.ZodType<WorkloadShape> = z.strictObject({
  name: z.string(),
  source: z.string(),
  tokenizer: z.string(),
  n: z.int().min(2),
  prompt: lengthDistribution,
  output: lengthDistribution,
  rankCorrelation: z.number().min(-1).max(1),
  copula: z
    .strictObject({ size: z.int().min(2), counts: z.array(z.int().min(0)) })
    .refine((c) => c.counts.length === c.size * c.size, { error: "needs size x size counts" })
    .refine(
      (c) =>
        Array.from({ length: c.size }, (_, i) =>
          c.counts.slice(i * c.size, (i + 1) * c.size),
        ).every((row) => row.some((count) => count > 0)),
      { error: "has a row without counts" },
    )
    .nullable(),
  arrivals: z.strictObject({ qps: z.number().positive(), cv: z.number().min(0) }).nullable(),
  distance: z.strictObject({ prompt: share, output: share, total: share }),
});
