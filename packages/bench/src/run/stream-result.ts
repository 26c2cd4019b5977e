/** What a stream came to, as plain data that can leave the process that received it. */
import type { RequestFailure, RequestWarning, UsageReport } from "../contracts.ts";
import type { RawColumns } from "../transport/chunk-rows.ts";
import type { StreamOutcome } from "../transport/http-stream.ts";
import type { Json } from "../transport/wire-chunk.ts";

/** Times are µs from run start, -1 = did not happen. */
export interface StreamResult {
  readonly raw: RawColumns;
  readonly usage: UsageReport | null;
  readonly text: readonly string[];
  readonly finish: readonly (string | null)[];
  readonly warnings: readonly RequestWarning[];
  readonly serverTimings: Readonly<Record<string, number>> | null;
  readonly timeline: Json | null;
  readonly firstEventUs: number;
  readonly firstTokenUs: number;
  readonly firstContentUs: number;
  readonly lastTokenUs: number;
  readonly startedUs: number;
  readonly connectedUs: number;
  readonly reused: boolean;
  readonly headersUs: number;
  readonly endedUs: number;
  readonly httpStatus: number;
  readonly reads: number;
  readonly bytesIn: number;
  readonly attempts: number;
  readonly failure: RequestFailure | null;
}

/** Copies what is worth keeping; the reader and its buffers can go. */
export function resultOf(outcome: StreamOutcome, attempts: number): StreamResult {
  const { reader } = outcome;
  const { startedUs, connectedUs, reused, headersUs, endedUs } = outcome;
  const { httpStatus, reads, bytesIn, failure } = outcome;
  const { firstEventUs, firstTokenUs, firstContentUs, lastTokenUs } = reader;
  return {
    raw: reader.rows.seal(),
    usage: reader.usage,
    text: reader.text,
    finish: reader.finish,
    warnings: [...reader.warnings],
    serverTimings: reader.serverTimings,
    timeline: reader.timeline,
    ...{ firstEventUs, firstTokenUs, firstContentUs, lastTokenUs },
    ...{ startedUs, connectedUs, reused, headersUs, endedUs },
    ...{ httpStatus, reads, bytesIn, attempts, failure },
  };
}

/** The result of a stream whose receiver is gone. */
export function lostResult(nowUs: number, message: string): StreamResult {
  return {
    raw: {
      timeUs: new Float64Array(0),
      chars: new Int32Array(0),
      choice: new Uint16Array(0),
      kind: new Uint8Array(0),
      ...{ ids: null, logprobs: null, usage: null, serverUs: null, event: null },
    },
    ...{ usage: null, text: [], finish: [], warnings: [], serverTimings: null, timeline: null },
    ...{ firstEventUs: -1, firstTokenUs: -1, firstContentUs: -1, lastTokenUs: -1 },
    ...{ startedUs: -1, connectedUs: -1, reused: false, headersUs: -1, endedUs: nowUs },
    ...{ httpStatus: 0, reads: 0, bytesIn: 0, attempts: 1 },
    failure: { class: "client", message, body: null, retryAfterSeconds: null },
  };
}
