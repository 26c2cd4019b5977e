/**
 * Tells when something changed. What changed is not kept: the runner lists again, so that a gap in a stream can lose news
 * but never truth. A stream that ends, expires (410) or breaks is opened again from a fresh list.
 */
import { createInterface } from "node:readline";
import { setTimeout as delay, setImmediate as immediately } from "node:timers/promises";
import { TimeLimit } from "@millrace/core/node";
import type { KubeApi } from "./api.ts";
import type { KubeObject } from "./objects.ts";

/** What to watch. */
export interface Watched {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
}

/** Watches some lists until it is disposed of. */
export class Watcher implements Disposable {
  private readonly api: KubeApi;
  private readonly ended = new AbortController();
  private readonly retryMs: number;
  private news = true;
  private waiting: (() => void)[] = [];

  constructor(api: KubeApi, watched: readonly Watched[], retryMs = 500) {
    this.api = api;
    this.retryMs = retryMs;
    for (const one of watched) void this.follow(one);
  }

  /** What is known from now on is fresh: call it before observing. */
  seen(): void {
    this.news = false;
  }

  /** Resolves at the next change since `seen`, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    // Never at once: whoever waits in a loop must not keep everything else from happening.
    if (this.news || signal.aborted || this.ended.signal.aborted) return immediately();
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      signal.addEventListener("abort", done, { once: true });
      this.waiting.push(done);
    });
  }

  /** Wakes everyone; also used for what the runner itself did. */
  tell(): void {
    this.news = true;
    const waiting = this.waiting;
    this.waiting = [];
    for (const wake of waiting) wake();
  }

  [Symbol.dispose](): void {
    this.ended.abort();
    this.tell();
  }

  private async follow({ path, query }: Watched): Promise<void> {
    const { signal } = this.ended;
    while (!signal.aborted) {
      try {
        const { resourceVersion } = await this.api.list<KubeObject>(path, query, signal);
        // What changed before this list is in no stream: look again, now that the stream goes on from it.
        this.tell();
        await this.stream(path, query, resourceVersion);
      } catch {
        // Whatever it was, the next list shows whether it passed; observing reports it to the scheduler.
      }
      if (signal.aborted) return;
      await delay(this.retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async stream(
    path: string,
    query: Readonly<Record<string, string>>,
    resourceVersion: string,
  ): Promise<void> {
    const { signal } = this.ended;
    // The server ends streams after this; a connection that is dead without a word is noticed by then too.
    const seconds = 240;
    using limit = new TimeLimit((seconds + 30) * 1000, signal);
    const terms = { ...query, resourceVersion, timeoutSeconds: String(seconds) };
    const answer = await this.api.watch(path, terms, limit.signal);
    try {
      for await (const line of createInterface({ input: answer })) {
        if (line === "") continue;
        const { type } = JSON.parse(line) as { readonly type?: string };
        if (type === "BOOKMARK") continue;
        if (type === "ERROR") return;
        this.tell();
      }
    } finally {
      answer.destroy();
    }
  }
}
