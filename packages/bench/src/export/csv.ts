/** Runs as CSV: a line a request, or a line a chunk. Times in seconds; -1 µs (did not happen) is an empty field. */

import type { RequestRecord } from "../contracts.ts";
import { csvField } from "./field.ts";

const columns = {
  index: (r) => r.index,
  id: (r) => r.id,
  status: (r) => r.status,
  error: (r) => r.error?.class ?? "",
  stage: (r) => r.stage,
  session: (r) => r.session,
  turn: (r) => r.turn,
  scheduled_s: (r) => seconds(r.scheduledUs),
  started_s: (r) => seconds(r.startedUs),
  headers_s: (r) => seconds(r.headersUs),
  first_token_s: (r) => seconds(r.firstTokenUs),
  last_token_s: (r) => seconds(r.lastTokenUs),
  ended_s: (r) => seconds(r.endedUs),
  prompt_tokens_asked: (r) => r.askedPromptTokens ?? "",
  prompt_tokens: (r) => r.usage?.promptTokens ?? "",
  output_tokens_asked: (r) => r.askedOutputTokens,
  output_tokens: (r) => r.tokens,
  token_source: (r) => r.tokenSource,
  usage_disagreement: (r) => r.usageDisagreement ?? "",
  finish: (r) => r.finish.map((reason) => reason ?? "none").join(" "),
  http_status: (r) => r.httpStatus,
  attempts: (r) => r.attempts,
  warnings: (r) => r.warnings.join(" "),
  worker: (r) => r.worker,
} as const satisfies Readonly<Record<string, (record: RequestRecord) => string | number>>;

function seconds(us: number): string {
  return us < 0 ? "" : (us / 1e6).toFixed(6);
}

/** A header and a line per request, in order; warm-up left out. */
export function* requestsCsv(records: readonly RequestRecord[]): Generator<string> {
  yield `${Object.keys(columns).join(",")}\n`;
  for (const record of records) {
    if (record.warmup) continue;
    yield `${Object.values(columns)
      .map((of) => csvField(of(record)))
      .join(",")}\n`;
  }
}

/** A header and a line per chunk: request, choice, time from the schedule, tokens, characters. */
export function* chunksCsv(records: readonly RequestRecord[]): Generator<string> {
  yield "request,choice,since_scheduled_s,tokens,characters\n";
  for (const { warmup, index, scheduledUs, chunks } of records) {
    if (warmup) continue;
    let lines = "";
    for (let i = 0; i < chunks.timeUs.length; i++) {
      const at = (chunks.timeUs[i] as number) - scheduledUs;
      lines += `${index},${chunks.choice[i]},${seconds(at)},${chunks.tokens[i]},${chunks.chars[i]}\n`;
    }
    if (lines !== "") yield lines;
  }
}
