/** Measures the prefill curve of an endpoint: one request at a time, every prompt new to the server. */
import { MillraceError } from "@millrace/core";
import type {
  BenchTokenizer,
  Endpoint,
  LoadTrace,
  RequestRecord,
  RunHeader,
} from "../contracts.ts";
import { promptTokensOf } from "../metrics/targets.ts";
import { startRun } from "../run/run.ts";
import { errorClasses } from "../transport/error-class.ts";
import { interleaved } from "./grid.ts";
import { type PrefillReport, type PrefillSample, prefillReport } from "./report.ts";
import type { PrefillStatistic } from "./samples.ts";

export interface PrefillOptions {
  readonly endpoint: Endpoint;
  /** Prompt lengths, tokens, ascending; lengthGrid and checkLengths make them. */
  readonly lengths: readonly number[];
  /** Requests per length; default 5. */
  readonly repeats?: number;
  /** Tokens asked for: default 4, so that a first token that is no whole character yet is followed by one that is. */
  readonly outputTokens?: number;
  /** Requests before the first that counts; default 2. */
  readonly warmup?: number;
  readonly statistic?: PrefillStatistic;
  readonly seed: number | string;
  readonly tokenizer?: BenchTokenizer | null;
  /** Worker processes; default 1, 0 measures in this process. */
  readonly workers?: number;
  readonly signal?: AbortSignal;
  readonly onSample?: (progress: PrefillProgress) => void;
}

/** Told after every request that counts. */
export interface PrefillProgress {
  readonly done: number;
  readonly total: number;
  readonly promptTokens: number;
  /** Null when the request failed. */
  readonly seconds: number | null;
}

/** Failures in a row, with no success before, after which the endpoint is taken to be unusable. */
const HOPELESS = 4;
const LENGTHS = "prefill lengths";

/**
 * Measures. Lengths that the server refuses are left out with a caution; a measurement that is stopped early gives the
 * curve of what it has. Throws ENVIRONMENT_MISSING when fewer than 3 lengths got a first token, INTERRUPTED when it
 * was stopped before that, CONFIG_INVALID for options that cannot be.
 */
export async function measurePrefill(options: PrefillOptions): Promise<PrefillReport> {
  const { endpoint, lengths, repeats = 5, outputTokens = 4, warmup = 2, seed } = options;
  const { tokenizer = null, workers = 1, signal, onSample } = options;
  for (const [name, value] of [
    ["repeats", repeats],
    ["output tokens", outputTokens],
  ] as const)
    if (!Number.isSafeInteger(value) || value < 1)
      throw new MillraceError(
        "CONFIG_INVALID",
        `${name}: ${value} is no whole number of at least 1`,
      );
  const order = interleaved(lengths, repeats, seed);
  const run = startRun({
    endpoint,
    load: {
      arrivals: { type: "closed", concurrency: 1 },
      lengths: { type: "trace", path: LENGTHS, order: "file" },
      requests: order.length,
      prompts: { type: "synthetic", cache: "unique" },
      warmup: { requests: warmup, concurrency: 1 },
    },
    seed,
    label: "prefill",
    tokenizer,
    workers,
    traces: { [LENGTHS]: lengthTrace(order, outputTokens) },
    ...(signal === undefined ? {} : { signal }),
  });
  const records: RequestRecord[] = [];
  for await (const record of run) {
    if (record.warmup || record.status === "abandoned") continue;
    records.push(record);
    onSample?.({
      done: records.length,
      total: order.length,
      promptTokens: order[record.index] as number,
      seconds: secondsOf(record),
    });
    if (records.length === HOPELESS && records.every((r) => secondsOf(r) === null)) run.stop();
  }
  const end = await run.end;
  // Records come as requests end, which one at a time is their order; the index makes it certain.
  records.sort((a, b) => a.index - b.index);
  const { samples, cautions } = kept(records, order, repeats);
  const failures = records.filter((record) => secondsOf(record) === null);
  if (new Set(samples.map((s) => s.askedTokens)).size < 3) throw tooFew(failures, signal);
  const { verdict, reasons } = end.self;
  const report = prefillReport(samples, {
    ...contextOf(await run.header),
    statistic: options.statistic ?? "p10",
    failed: failures.length,
    verdict,
    reasons,
  });
  if (signal?.aborted === true) cautions.push("The measurement was stopped before its end.");
  return { ...report, cautions: [...cautions, ...report.cautions] };
}

function contextOf({ startedAt, endpoint, seed, tokenizer }: RunHeader) {
  return { measuredAt: startedAt, endpoint, seed, tokenizer };
}

function lengthTrace(order: readonly number[], outputTokens: number): LoadTrace {
  return {
    count: order.length,
    arrivedAt: null,
    promptTokens: Int32Array.from(order),
    outputTokens: new Int32Array(order.length).fill(outputTokens),
    ids: null,
    prefixHashes: null,
    blockTokens: 512,
    sessions: null,
  };
}

/** Seconds to the first token; null without one, also where the stream broke later. */
function secondsOf({ status, firstTokenUs, startedUs }: RequestRecord): number | null {
  return status === "ok" && firstTokenUs > startedUs ? (firstTokenUs - startedUs) / 1e6 : null;
}

/** Samples of the lengths that answered at least every other time, and what is to be said of the others. */
function kept(
  records: readonly RequestRecord[],
  order: readonly number[],
  repeats: number,
): { readonly samples: PrefillSample[]; readonly cautions: string[] } {
  const samples: PrefillSample[] = [];
  const cautions: string[] = [];
  for (const askedTokens of [...new Set(order)].sort((a, b) => a - b)) {
    const own = records.filter((record) => order[record.index] === askedTokens);
    const good = own.flatMap((record) => {
      const seconds = secondsOf(record);
      const counted = record.usage === null ? null : promptTokensOf(record);
      return seconds === null ? [] : [{ askedTokens, promptTokens: counted, seconds }];
    });
    const bad = own.find((record) => secondsOf(record) === null)?.error;
    if (2 * good.length >= own.length) samples.push(...good);
    else
      cautions.push(
        `Prompts of ${askedTokens} tokens are left out: ${own.length - good.length} of ${repeats} failed (${bad?.class ?? "no token"}${bad == null ? "" : `: ${bad.message}`}).`,
      );
  }
  // Samples stay in order of measuring within a length, which is what drift is read from.
  return { samples, cautions };
}

function tooFew(
  failures: readonly RequestRecord[],
  signal: AbortSignal | undefined,
): MillraceError {
  if (signal?.aborted === true)
    return new MillraceError("INTERRUPTED", "stopped before there was a curve to keep");
  const error = failures[0]?.error;
  if (error == null)
    return new MillraceError(
      "ENVIRONMENT_MISSING",
      "the endpoint generated no token for most lengths",
      {
        hint: "raise --output-tokens; see what it answers with millrace bench --url …",
      },
    );
  return new MillraceError(
    "ENVIRONMENT_MISSING",
    `${failures.length} requests failed, the first with ${error.class}: ${error.message}`,
    { hint: errorClasses[error.class].advice },
  );
}
