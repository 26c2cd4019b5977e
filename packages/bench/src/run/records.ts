/** From what a stream brought to the record that a run keeps. */
import type { BenchTokenizer, RequestRecord, RequestWarning, ScheduledRequest } from "../contracts.ts";
import type { StreamOutcome } from "../transport/http-stream.ts";
import { reconcile } from "../transport/reconcile.ts";

export interface RecordContext {
  readonly request: ScheduledRequest;
  readonly warmup: boolean;
  readonly scheduledUs: number;
  readonly choices: number;
  readonly ignoreEos: boolean;
  readonly includeUsage: boolean;
  readonly exactPrompts: boolean;
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
    ...{ serverTimings: null, text: null },
  };
}

/** The record of a request that was sent. Counts tokens, so it may take time: not while streams are read closely. */
export async function sentRecord(
  context: RecordContext,
  outcome: StreamOutcome,
): Promise<RequestRecord> {
  const { reader, failure } = outcome;
  const raw = reader.rows.seal();
  const counted = await reconcile(
    raw,
    reader.usage,
    reader.text.length > 0 ? reader.text : null,
    context.tokenizer,
  );
  const tokens = counted.tokens.reduce((a, b) => a + b, 0);
  const { timeUs, chars, choice, kind, serverUs } = raw;
  return {
    ...common(context),
    status: failure === null ? "ok" : "failed",
    error: failure,
    startedUs: outcome.startedUs,
    connectedUs: outcome.connectedUs,
    reusedConnection: outcome.reused,
    headersUs: outcome.headersUs,
    firstEventUs: reader.firstEventUs,
    firstTokenUs: reader.firstTokenUs,
    firstContentUs: reader.firstContentUs,
    lastTokenUs: reader.lastTokenUs,
    endedUs: outcome.endedUs,
    tokens,
    tokenSource: counted.source,
    usageDisagreement: counted.disagreement,
    usage: reader.usage,
    finish: reader.finish,
    chunks: { timeUs, tokens: counted.tokens, chars, choice, kind, serverUs },
    reads: outcome.reads,
    bytesIn: outcome.bytesIn,
    httpStatus: outcome.httpStatus,
    attempts: 1,
    warnings: [...reader.warnings, ...deviations(context, outcome, tokens, counted.disagreement)],
    serverTimings: reader.serverTimings,
    text: context.keepText ? reader.text : null,
  };
}

/** How an answer differs from what was asked for. */
function deviations(
  context: RecordContext,
  { reader, failure }: StreamOutcome,
  tokens: number,
  disagreement: number | null,
): RequestWarning[] {
  if (failure !== null) return [];
  const found: RequestWarning[] = [];
  const { request, choices, ignoreEos, includeUsage, exactPrompts } = context;
  const generated = reader.usage?.completionTokens ?? tokens;
  const asked = request.outputTokens * choices;
  const reasons = reader.finish;
  if (generated > asked) found.push("over-length");
  if (generated < asked && reasons.every((reason) => reason === "length")) found.push("short-length");
  if (generated < asked && ignoreEos && reasons.includes("stop")) found.push("early-stop");
  if (includeUsage && reader.usage === null) found.push("no-usage");
  if (disagreement !== null && disagreement !== 0) found.push("usage-disagrees");
  const prompt = reader.usage?.promptTokens ?? null;
  if (exactPrompts && prompt !== null && prompt !== request.promptTokens)
    found.push("prompt-disagrees");
  return found;
}
