/** From what a stream brought to the record that a run keeps. */

import { joinTimeline } from "../attribution/join.ts";
import type {
  BenchTokenizer,
  RequestRecord,
  RequestWarning,
  ScheduledRequest,
} from "../contracts.ts";
import { reconcile } from "../transport/reconcile.ts";
import type { StreamResult } from "./stream-result.ts";

export interface RecordContext {
  readonly request: ScheduledRequest;
  readonly warmup: boolean;
  readonly scheduledUs: number;
  readonly choices: number;
  readonly ignoreEos: boolean;
  readonly includeUsage: boolean;
  /** promptTokens of the request were counted by a tokenizer. */
  readonly exactPrompts: boolean;
  /** They are also what the server should count. */
  readonly comparePrompts: boolean;
  readonly keepText: boolean;
  readonly tokenizer: BenchTokenizer | null;
}

const none = {
  timeUs: new Float64Array(0),
  tokens: new Int32Array(0),
  chars: new Int32Array(0),
  choice: new Uint16Array(0),
  kind: new Uint8Array(0),
  serverUs: null,
} as const;

type Common = Pick<
  RequestRecord,
  "index" | "id" | "classIndex" | "session" | "turn" | "stage" | "warmup" | "scheduledUs"
> &
  Pick<RequestRecord, "askedPromptTokens" | "askedOutputTokens" | "askedChoices" | "worker">;

function common({ request, warmup, scheduledUs, choices, exactPrompts }: RecordContext): Common {
  const { index, id, classIndex, session, turn, stage } = request;
  return {
    ...{ index, id, classIndex, session, turn, stage, warmup, scheduledUs },
    askedPromptTokens: exactPrompts ? request.promptTokens : null,
    askedOutputTokens: request.outputTokens,
    askedChoices: choices,
    worker: 0,
  };
}

/** The record of a request that was never sent. */
export function unsentRecord(
  context: RecordContext,
  status: "refused" | "abandoned",
  nowUs: number,
): RequestRecord {
  return {
    ...common(context),
    status,
    error: null,
    ...{ startedUs: -1, connectedUs: -1, reusedConnection: false, headersUs: -1 },
    ...{ firstEventUs: -1, firstTokenUs: -1, firstContentUs: -1, lastTokenUs: -1, endedUs: nowUs },
    ...{ tokens: 0, tokenSource: "none", usageDisagreement: null, usage: null, finish: [] },
    ...{ chunks: none, reads: 0, bytesIn: 0, httpStatus: 0, attempts: 0, warnings: [] },
    ...{ serverTimings: null, server: null, text: null },
  };
}

/** The record of a request that was sent. Counts tokens, which may take time: never in a receiving process. */
export async function sentRecord(
  context: RecordContext,
  result: StreamResult,
  worker: number,
): Promise<RequestRecord> {
  const { raw, usage, text, failure, serverTimings } = result;
  const joined = result.timeline && joinTimeline(result.timeline, raw);
  const counted = await reconcile(
    ...([raw, usage, text.length > 0 ? text : null, context.tokenizer] as const),
    joined?.tokens ?? null,
  );
  const tokens = counted.tokens.reduce((a, b) => a + b, 0);
  const { timeUs, chars, choice, kind, serverUs } = raw;
  const { startedUs, connectedUs, headersUs, endedUs, httpStatus, reads, bytesIn } = result;
  const { firstEventUs, firstTokenUs, firstContentUs, lastTokenUs, attempts, finish } = result;
  return {
    ...common(context),
    worker,
    status: failure === null ? "ok" : "failed",
    error: failure,
    ...{ startedUs, connectedUs, headersUs, endedUs, httpStatus, reads, bytesIn, attempts },
    ...{ firstEventUs, firstTokenUs, firstContentUs, lastTokenUs, tokens, usage, finish },
    reusedConnection: result.reused,
    tokenSource: counted.source,
    usageDisagreement: counted.disagreement,
    chunks: { timeUs, tokens: counted.tokens, chars, choice, kind, serverUs },
    warnings: [...result.warnings, ...deviations(context, result, tokens, counted.disagreement)],
    serverTimings,
    server: joined?.server ?? null,
    text: context.keepText ? text : null,
  };
}

/** How an answer differs from what was asked for. */
function deviations(
  context: RecordContext,
  { usage, finish, failure }: StreamResult,
  tokens: number,
  disagreement: number | null,
): RequestWarning[] {
  if (failure !== null) return [];
  const found: RequestWarning[] = [];
  const { request, choices, ignoreEos, includeUsage, comparePrompts } = context;
  const generated = usage?.completionTokens ?? tokens;
  const asked = request.outputTokens * choices;
  if (generated > asked) found.push("over-length");
  if (generated < asked && finish.every((reason) => reason === "length"))
    found.push("short-length");
  if (generated < asked && ignoreEos && finish.includes("stop")) found.push("early-stop");
  if (includeUsage && usage === null) found.push("no-usage");
  if (disagreement !== null && disagreement !== 0) found.push("usage-disagrees");
  const prompt = usage?.promptTokens ?? null;
  if (comparePrompts && prompt !== null && prompt !== request.promptTokens)
    found.push("prompt-disagrees");
  return found;
}
