/** From measured repeats to what a prefill file says: the curve, how it was found and how far it can be trusted. */
import { median } from "@millrace/core";
import type { EndpointSummary, PrefillCurve } from "../contracts.ts";
import { prefillSeconds } from "./curve.ts";
import { fitPrefill } from "./fit.ts";
import {
  outliersOf,
  type PrefillOutlier,
  type PrefillStatistic,
  typicalSeconds,
} from "./samples.ts";
import { type BandPoint, bootstrapBand, crossValidate } from "./validate.ts";

export const PREFILL_SCHEMA = "millrace.prefill-curve/1";

/** One length as it was measured and as the curve has it. Seconds. */
export interface PrefillLength {
  /** Tokens asked for; the server may have counted others. */
  readonly askedTokens: number;
  /** Tokens as the server counted them (chat template included), median over repeats; those asked for where it did not. */
  readonly promptTokens: number;
  /** Time to first token of each repeat, in order of measuring. */
  readonly repeats: readonly number[];
  /** What stands for them. */
  readonly seconds: number;
  readonly fittedSeconds: number;
  /** Prediction from the other lengths / seconds - 1; NaN (null in JSON) with fewer than 4 lengths. */
  readonly heldOutError: number;
}

/** `millrace.prefill-curve/1`: seconds to first token = constant + linear n + quadratic n² for n prompt tokens. */
export interface PrefillReport {
  readonly schema: typeof PREFILL_SCHEMA;
  readonly curve: PrefillCurve;
  readonly measuredAt: string;
  readonly endpoint: EndpointSummary;
  readonly seed: string;
  readonly tokenizer: string | null;
  readonly statistic: PrefillStatistic;
  readonly lengths: readonly PrefillLength[];
  readonly outliers: readonly PrefillOutlier[];
  /** Largest sizes of heldOutError, 0 … 1: at lengths between others, and at the two ends. */
  readonly heldOut: { readonly between: number; readonly ends: number };
  /** 90 % band of the curve under new repeats. */
  readonly band: readonly BandPoint[];
  /** Median over lengths of the last repeat / the first - 1: what the server changed by while it was measured. */
  readonly drift: number;
  /** Requests without a first token. */
  readonly failed: number;
  /** INVALID: the client was the bottleneck. The reasons say how. */
  readonly verdict: "VALID" | "INVALID";
  readonly reasons: readonly string[];
  /** What to know before using the curve, one sentence each. */
  readonly cautions: readonly string[];
}

/** A request of the measurement that got its first token. */
export interface PrefillSample {
  readonly askedTokens: number;
  /** As the server counted; null where it did not say. */
  readonly promptTokens: number | null;
  readonly seconds: number;
}

export type PrefillContext = Pick<
  PrefillReport,
  "measuredAt" | "endpoint" | "seed" | "tokenizer" | "statistic" | "failed" | "verdict" | "reasons"
>;

/** Held-out error between lengths above which the curve is called into question. */
const TRUSTED = 0.05;
const DRIFTED = 0.1;

/** The report on samples in order of measuring; at least one per length that is to be in it. Pure. */
export function prefillReport(
  samples: readonly PrefillSample[],
  context: PrefillContext,
): PrefillReport {
  const { statistic, seed } = context;
  const lengthsAsked = [...new Set(samples.map((s) => s.askedTokens))].sort((a, b) => a - b);
  const groups = lengthsAsked.map((askedTokens) => {
    const group = samples.filter((s) => s.askedTokens === askedTokens);
    const counted = group.flatMap((s) => s.promptTokens ?? []);
    return {
      askedTokens,
      group,
      counted: counted.length === 0 ? null : Math.round(median(counted)),
    };
  });
  // A count that does not grow with the prompt is none.
  const believed = groups.every(
    ({ counted }, i) => counted !== null && counted > (groups[i - 1]?.counted ?? 0),
  );
  const measured = groups.map(({ askedTokens, group, counted }) => {
    const repeats = group.map((s) => s.seconds);
    return {
      askedTokens,
      promptTokens: believed && counted !== null ? counted : askedTokens,
      repeats,
      seconds: typicalSeconds(repeats, statistic),
    };
  });
  const curve = fitPrefill(measured);
  const held = crossValidate(measured);
  const lengths = measured.map((length, i) => ({
    ...length,
    fittedSeconds: prefillSeconds(curve, length.promptTokens),
    heldOutError: held.errors[i] as number,
  }));
  const perLength = measured.map((m) => ({ promptTokens: m.promptTokens, seconds: m.repeats }));
  const outliers = perLength.flatMap((m) => outliersOf(m.promptTokens, m.seconds));
  const drift = median(
    perLength.flatMap(({ seconds }) =>
      seconds.length < 2 ? [] : [(seconds.at(-1) as number) / (seconds[0] as number) - 1],
    ),
  );
  const heldOut = { between: held.between, ends: held.ends };
  return {
    ...context,
    schema: PREFILL_SCHEMA,
    curve,
    lengths,
    outliers,
    heldOut,
    band: bootstrapBand(perLength, { statistic, seed }),
    drift,
    cautions: cautionsOf({ heldOut, drift, outliers, believed, lengths }),
  };
}

function cautionsOf({
  heldOut,
  drift,
  outliers,
  believed,
  lengths,
}: Pick<PrefillReport, "heldOut" | "drift" | "outliers" | "lengths"> & {
  readonly believed: boolean;
}): string[] {
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const cautions: string[] = [];
  if (heldOut.between > TRUSTED)
    cautions.push(
      `Between lengths the curve is off by up to ${percent(heldOut.between)}: the server does not follow a quadratic, or was disturbed. More repeats tell which.`,
    );
  if (Math.abs(drift) > DRIFTED)
    cautions.push(
      `The last repeats took ${percent(Math.abs(drift))} ${drift > 0 ? "longer" : "less"} than the first: the server was not idle throughout, or it was not warm.`,
    );
  const fast = outliers.filter((o) => o.side === "fast").length;
  if (fast > 0)
    cautions.push(
      `${fast} repeat${fast === 1 ? " was" : "s were"} much faster than the others of the same length: something may have cached prompts.`,
    );
  if (!believed)
    cautions.push(
      "The server did not count the prompt tokens, or not all of them; the lengths are those asked for, as near as the prompts came to them.",
    );
  const few = Math.min(...lengths.map((l) => l.repeats.length));
  if (few < 5) cautions.push(`A length has ${few} repeat${few === 1 ? "" : "s"} only.`);
  return cautions;
}
