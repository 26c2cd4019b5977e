/**
 * Calls of the Kubernetes API with what it takes to rely on them: time limits, retries of what may pass, whole lists over
 * pages, and failures as data.
 */
import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { TimeLimit } from "@millrace/core/node";
import type { Connection } from "./connection.ts";
import type { KubeObject } from "./objects.ts";

/** What the server said against a request; status 0: it did not answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
  }
}

/** How long to wait for what. */
export interface ApiTimes {
  /** Of one try of a request. */
  readonly requestMs: number;
  /** Of all tries together; the most that a call takes. */
  readonly callMs: number;
  /** Before the second try; doubled for each further one. */
  readonly backoffMs: number;
}

export const apiTimes: ApiTimes = { requestMs: 8000, callMs: 25_000, backoffMs: 100 };

/** A list as of a version, from which a watch can go on. */
export interface Listed<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

const pageSize = 500;
/** These may pass; everything else is an answer. */
const passing = new Set([0, 429, 500, 502, 503, 504]);

/** The API over a connection. */
export class KubeApi {
  private readonly connection: Connection;
  private readonly times: ApiTimes;

  constructor(connection: Connection, times: ApiTimes = apiTimes) {
    this.connection = connection;
    this.times = times;
  }

  get<T extends object>(path: string, signal?: AbortSignal): Promise<T> {
    return this.call<T>("GET", path, null, signal);
  }

  /** The whole list; starts over when it expires between pages (410). */
  async list<T extends KubeObject>(
    path: string,
    query: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<Listed<T>> {
    for (let restarts = 0; ; restarts++) {
      try {
        return await this.pages<T>(path, query, signal);
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 410) || restarts === 3) throw error;
      }
    }
  }

  private async pages<T extends KubeObject>(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<Listed<T>> {
    const items: T[] = [];
    let next: string | undefined;
    for (;;) {
      const page = new URLSearchParams({ ...query, limit: String(pageSize) });
      if (next !== undefined) page.set("continue", next);
      const answer = await this.get<{
        readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
        readonly items?: readonly T[];
      }>(`${path}?${page}`, signal);
      items.push(...(answer.items ?? []));
      next = answer.metadata?.continue;
      if (next === undefined || next === "")
        return { items, resourceVersion: answer.metadata?.resourceVersion ?? "0" };
    }
  }

  /** Unknown fields are an error, not dropped (fieldValidation=Strict). */
  create<T extends KubeObject>(path: string, object: object, signal?: AbortSignal): Promise<T> {
    const body = { type: "application/json", text: JSON.stringify(object) };
    return this.call<T>("POST", `${path}?fieldValidation=Strict`, body, signal);
  }

  /** A JSON patch; replacing metadata.resourceVersion in it makes it fail (409) when the object has changed since. */
  patch<T extends KubeObject>(
    path: string,
    operations: readonly PatchOperation[],
    signal?: AbortSignal,
  ): Promise<T> {
    const body = { type: "application/json-patch+json", text: JSON.stringify(operations) };
    return this.call<T>("PATCH", `${path}?fieldValidation=Strict`, body, signal);
  }

  /** A merge patch: null removes a field. */
  merge<T extends KubeObject>(path: string, change: object, signal?: AbortSignal): Promise<T> {
    const body = { type: "application/merge-patch+json", text: JSON.stringify(change) };
    return this.call<T>("PATCH", `${path}?fieldValidation=Strict`, body, signal);
  }

  /** Deletes, what it owns first; nothing happens when it is not there. */
  async remove(path: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.call("DELETE", `${path}?propagationPolicy=Foreground`, null, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }

  /** Opens a stream of changes; the caller reads lines from it and ends it by the signal. */
  async watch(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const answer = await this.connection.open(
      "GET",
      `${path}?${new URLSearchParams({ ...query, watch: "1", allowWatchBookmarks: "true" })}`,
      null,
      signal,
    );
    if (answer.statusCode === 200) return answer;
    throw failureOf(answer.statusCode ?? 0, await textOf(answer));
  }

  private async call<T extends object>(
    method: string,
    path: string,
    body: { readonly type: string; readonly text: string } | null,
    signal?: AbortSignal,
  ): Promise<T> {
    const ends = performance.now() + this.times.callMs;
    for (let tries = 0; ; tries++) {
      const left = ends - performance.now();
      let failure: ApiError;
      let pause = this.times.backoffMs * 2 ** tries;
      try {
        return await this.once<T>(method, path, body, Math.min(this.times.requestMs, left), signal);
      } catch (error) {
        signal?.throwIfAborted();
        failure =
          error instanceof RetryLater
            ? error.failure
            : error instanceof ApiError
              ? error
              : new ApiError(0, "NoAnswer", `no answer: ${(error as Error).message}`);
        if (error instanceof RetryLater) pause = Math.max(pause, error.afterMs);
      }
      if (!passing.has(failure.status) || performance.now() + pause >= ends) throw failure;
      await delay(pause, undefined, signal === undefined ? {} : { signal });
    }
  }

  private async once<T extends object>(
    method: string,
    path: string,
    body: { readonly type: string; readonly text: string } | null,
    limitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    using limit = new TimeLimit(Math.max(1, Math.ceil(limitMs)), signal);
    const answer = await this.connection.open(method, path, body, limit.signal);
    const text = await textOf(answer);
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return JSON.parse(text) as T;
    const failure = failureOf(status, text);
    const after = Number(answer.headers["retry-after"]);
    throw after > 0 ? new RetryLater(failure, after * 1000) : failure;
  }
}

/** The server named a time to try again. */
class RetryLater extends Error {
  readonly failure: ApiError;
  readonly afterMs: number;

  constructor(failure: ApiError, afterMs: number) {
    super(failure.message);
    this.failure = failure;
    this.afterMs = afterMs;
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  answer.setEncoding("utf8");
  let text = "";
  for await (const part of answer) text += String(part);
  if (!answer.complete) throw new Error("the answer broke off");
  return text;
}

/** The server's Status object, or whatever stands between it and us said. */
function failureOf(status: number, text: string): ApiError {
  try {
    const { reason, message } = JSON.parse(text) as {
      readonly reason?: string;
      readonly message?: string;
    };
    return new ApiError(status, reason ?? "", message ?? text.slice(0, 200));
  } catch {
    return new ApiError(status, "", text.slice(0, 200).trim() || `status ${status}`);
  }
}
