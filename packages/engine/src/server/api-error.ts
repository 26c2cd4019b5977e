/**
 * The HTTP face of the engine: OpenAI's API over an EngineClient. This layer owns parsing, admission, framing,
 * metrics and the life of a connection; it knows nothing of batches, pages or tensors, and never holds a step up.
 *
 * This file: errors as OpenAI clients know them, `{"error": {message, type, param, code}}`.
 */
import { MillraceError } from "@millrace/core";

/** What OpenAI clients read from a failed response. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** What an ApiError may carry beside status and message. */
export interface ApiErrorDetail {
  readonly param?: string | null;
  readonly code?: string | null;
  /** Whole seconds for Retry-After. */
  readonly retryAfterSeconds?: number;
  /** Methods for Allow. */
  readonly allow?: string;
  /** False: tells SDKs that the same request would fail again (x-should-retry). */
  readonly retry?: boolean;
  /** The rest of the request body will not be read. */
  readonly closes?: boolean;
}

const typeOfStatus: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
  500: "server_error",
  502: "server_error",
  503: "service_unavailable_error",
  504: "timeout_error",
};

/** A request that ends with an HTTP status and an OpenAI error body. */
export class ApiError extends Error {
  readonly status: number;
  readonly detail: ApiErrorDetail;

  constructor(status: number, message: string, detail: ApiErrorDetail = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.detail = detail;
  }

  get body(): ErrorBody {
    return {
      error: {
        message: this.message,
        type: typeOfStatus[this.status] ?? "invalid_request_error",
        param: this.detail.param ?? null,
        code: this.detail.code ?? null,
      },
    };
  }

  /** Headers that belong to the status: Retry-After, Allow, x-should-retry, WWW-Authenticate. */
  get headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    const { retryAfterSeconds, allow, retry, closes } = this.detail;
    if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds);
    if (allow !== undefined) headers["allow"] = allow;
    if (retry !== undefined) headers["x-should-retry"] = String(retry);
    if (closes === true) headers["connection"] = "close";
    if (this.status === 401) headers["www-authenticate"] = "Bearer";
    return headers;
  }
}

/** 400 that names the field at fault. */
export function badRequest(
  message: string,
  param: string | null = null,
  code: string | null = null,
): ApiError {
  return new ApiError(400, message, { param, code });
}

/** 503 while the engine loads, drains or restarts; may be retried. */
export function unavailable(message: string, code: string, retryAfterSeconds = 1): ApiError {
  return new ApiError(503, message, { code, retryAfterSeconds });
}

/** A message of another layer as a sentence of its own. */
export function sentence(message: string): string {
  const upper = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

/** Any thrown value as an ApiError: bad input becomes 400, a bug 500 without its inner words. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof MillraceError) {
    const hint = thrown.hint === undefined ? "" : ` ${sentence(thrown.hint)}`;
    const code = thrown.code.toLowerCase();
    // Bad input ends a command with 2. Other failures are not the client's, and their words may name files.
    if (thrown.exit === 2) return new ApiError(400, `${sentence(thrown.message)}${hint}`, { code });
    if (code.startsWith("engine_"))
      return new ApiError(503, sentence(thrown.message), {
        code,
        retryAfterSeconds: 1,
      });
  }
  return new ApiError(500, "The server failed to answer this request; its log has the cause.", {
    code: "internal_error",
  });
}
