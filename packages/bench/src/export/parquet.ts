/** Runs as Parquet: requests as one table, chunks as another that refers to it by request. */
import { parquetWriteBuffer } from "hyparquet-writer";
import type { RequestRecord } from "../contracts.ts";

type Column = Parameters<typeof parquetWriteBuffer>[0]["columnData"][number];

const micros = (name: string, data: readonly number[]): Column => ({
  name,
  data: data.map((us) => (us < 0 ? null : us / 1e6)),
  type: "DOUBLE",
  nullable: true,
});

/** The table of requests as the bytes of a file; warm-up left out. */
export function requestsParquet(records: readonly RequestRecord[]): Uint8Array {
  const kept = records.filter(({ warmup }) => !warmup);
  const text = (name: string, of: (record: RequestRecord) => string): Column => ({
    ...{ name, data: kept.map(of), type: "STRING" },
  });
  const whole = (name: string, of: (record: RequestRecord) => number): Column => ({
    ...{ name, data: kept.map(of), type: "INT32" },
  });
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        whole("index", (r) => r.index),
        text("id", (r) => r.id),
        text("status", (r) => r.status),
        text("error", (r) => r.error?.class ?? ""),
        whole("stage", (r) => r.stage),
        whole("session", (r) => r.session),
        whole("turn", (r) => r.turn),
        micros(
          "scheduled_s",
          kept.map((r) => r.scheduledUs),
        ),
        micros(
          "started_s",
          kept.map((r) => r.startedUs),
        ),
        micros(
          "first_token_s",
          kept.map((r) => r.firstTokenUs),
        ),
        micros(
          "last_token_s",
          kept.map((r) => r.lastTokenUs),
        ),
        micros(
          "ended_s",
          kept.map((r) => r.endedUs),
        ),
        whole("prompt_tokens", (r) => r.usage?.promptTokens ?? r.askedPromptTokens ?? 0),
        whole("output_tokens_asked", (r) => r.askedOutputTokens),
        whole("output_tokens", (r) => r.tokens),
        text("token_source", (r) => r.tokenSource),
        whole("http_status", (r) => r.httpStatus),
        whole("attempts", (r) => r.attempts),
      ],
    }),
  );
}

/** The table of chunks. */
export function chunksParquet(records: readonly RequestRecord[]): Uint8Array {
  const kept = records.filter(({ warmup }) => !warmup);
  const n = kept.reduce((sum, { chunks }) => sum + chunks.timeUs.length, 0);
  const request = new Int32Array(n);
  const choice = new Int32Array(n);
  const since = new Float64Array(n);
  const tokens = new Int32Array(n);
  let at = 0;
  for (const { index, scheduledUs, chunks } of kept)
    for (let i = 0; i < chunks.timeUs.length; i++, at++) {
      request[at] = index;
      choice[at] = chunks.choice[i] as number;
      since[at] = ((chunks.timeUs[i] as number) - scheduledUs) / 1e6;
      tokens[at] = chunks.tokens[i] as number;
    }
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: "request", data: request, type: "INT32" },
        { name: "choice", data: choice, type: "INT32" },
        { name: "since_scheduled_s", data: since, type: "DOUBLE" },
        { name: "tokens", data: tokens, type: "INT32" },
      ],
    }),
  );
}
