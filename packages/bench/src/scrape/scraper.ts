/** Reads /metrics of a server at even times of the run's clock. Whatever goes wrong is one remark, never the run's failure. */
import http from "node:http";
import https from "node:https";
import { TimeLimit } from "@millrace/core/node";
import type { Endpoint, ScrapeSpec, ServerSamples } from "../contracts.ts";
import { type Target, targetOf } from "../transport/target.ts";
import { dialectNames, readServer, type ServerQuantity, serverQuantities } from "./dialects.ts";
import { parseMetrics } from "./prometheus-text.ts";

const INTERVAL_SECONDS = 0.5;
const TIMEOUT_MS = 2000;
const MOST_BYTES = 8 << 20;
/** Failures, with no success before, after which nothing more is tried. */
const HOPELESS = 5;

/** Readings of one run. Call `start` once the clock runs, `stop` for what was read; `close` lets go of everything. */
export class ServerScraper {
  private readonly target: Target;
  private readonly path: string;
  private readonly url: string;
  private readonly intervalMs: number;
  private readonly clock: () => number;
  private readonly atUs: number[] = [];
  private readonly columns: Record<ServerQuantity, (number | null)[]>;
  private dialect: string | null = null;
  private answered = 0;
  private failed = 0;
  private firstFailure = "";
  private complaint: string | null = null;
  private timer: NodeJS.Timeout | undefined;
  private reading: Promise<void> | null = null;
  private readonly ending = new AbortController();

  /** `clock` gives µs from run start. Throws CONFIG_INVALID for a URL that is none. */
  constructor(endpoint: Endpoint, spec: ScrapeSpec, clock: () => number) {
    const { apiKey, headers, ...rest } = endpoint;
    const url = spec.url ?? new URL("/metrics", endpoint.url).href;
    // Secrets are for the endpoint's own host alone.
    const own = sameHost(url, endpoint.url);
    this.target = targetOf({
      ...rest,
      url,
      api: "chat",
      ...(own && apiKey !== undefined && { apiKey }),
      ...(own && headers !== undefined && { headers }),
    });
    const operation = /\/v1\/chat\/completions(?=\?|$)/;
    this.path = String(this.target.options.path).replace(operation, "") || "/";
    this.url = this.target.url.replace(operation, "");
    this.intervalMs = 1000 * (spec.intervalSeconds ?? INTERVAL_SECONDS);
    this.clock = clock;
    this.columns = Object.fromEntries(
      serverQuantities.map((quantity) => [quantity, []]),
    ) as unknown as Record<ServerQuantity, (number | null)[]>;
  }

  start(): void {
    this.tick(Math.max(0, Math.ceil(this.clock() / 1000 / this.intervalMs)));
  }

  /** A last reading, and all of them. */
  async stop(): Promise<ServerSamples> {
    clearTimeout(this.timer);
    await this.reading;
    if (this.failed === 0) await this.read();
    this.close();
    const { url, dialect, atUs, columns, failed } = this;
    const intervalSeconds = this.intervalMs / 1000;
    return { url, dialect, intervalSeconds, atUs, ...columns, failed, remark: this.remark() };
  }

  close(): void {
    clearTimeout(this.timer);
    this.ending.abort();
    this.target.agent.destroy();
  }

  /** Reads at the k-th multiple of the interval; a reading that is not over by then stands for it. */
  private tick(k: number): void {
    const left = k * this.intervalMs - this.clock() / 1000;
    this.timer = setTimeout(
      () => {
        this.reading ??= this.read().finally(() => {
          this.reading = null;
        });
        if (this.failed >= HOPELESS && this.answered === 0) return;
        this.tick(Math.max(k + 1, Math.ceil(this.clock() / 1000 / this.intervalMs)));
      },
      Math.max(0, left),
    );
  }

  private async read(): Promise<void> {
    const from = this.clock();
    let text: string;
    try {
      text = await this.get();
    } catch (error) {
      if (this.ending.signal.aborted) return;
      if (this.failed++ === 0) this.firstFailure = (error as Error).message;
      return;
    }
    this.answered++;
    const { samples, malformed, firstMalformed } = parseMetrics(text);
    if (malformed > 0)
      this.complaint ??= `${malformed} of its lines are no Prometheus text, the first is line ${firstMalformed}.`;
    const found = readServer(samples);
    if (found === null) return;
    this.dialect ??= found.dialect;
    this.atUs.push(Math.round((from + this.clock()) / 2));
    for (const quantity of serverQuantities) this.columns[quantity].push(found.reading[quantity]);
  }

  private get(): Promise<string> {
    const { target, path, ending } = this;
    const {
      accept: _,
      "content-type": __,
      ...headers
    } = target.options.headers as Record<string, string>;
    const limit = new TimeLimit(TIMEOUT_MS, ending.signal);
    const answer = new Promise<string>((resolve, reject) => {
      const request = (target.secure ? https : http).request({
        ...target.options,
        ...{ path, method: "GET", headers: { ...headers, accept: "text/plain" } },
        signal: limit.signal,
      });
      const refuse = (error: Error): void =>
        reject(
          error.name === "AbortError" || error.name === "TimeoutError"
            ? new Error(`no answer within ${TIMEOUT_MS / 1000} s`)
            : error,
        );
      request.on("error", refuse);
      request.on("response", (response) => {
        const parts: Buffer[] = [];
        let size = 0;
        response.on("error", refuse);
        response.on("data", (part: Buffer) => {
          size += part.length;
          if (size > MOST_BYTES) request.destroy(new Error("its answer never ends"));
          else parts.push(part);
        });
        response.on("end", () => {
          if (response.statusCode === 200) resolve(Buffer.concat(parts).toString());
          else reject(new Error(`it is answered with ${response.statusCode}`));
        });
      });
      request.end();
    });
    return answer.finally(() => limit[Symbol.dispose]());
  }

  private remark(): string | null {
    const { atUs, answered, failed, firstFailure, complaint, url } = this;
    const why = failed > 0 ? ` (${firstFailure})` : "";
    if (answered === 0 && failed > 0)
      return `${url} could not be read${why}; the run went on without it.`;
    if (atUs.length === 0)
      return `${url} tells nothing under a name of ${dialectNames.join(", ")}${complaint === null ? "" : `: ${complaint}`}`;
    if (failed > 0) return `${url}: ${failed} of ${failed + answered} readings failed${why}.`;
    return complaint === null ? null : `${url}: ${complaint}`;
  }
}

function sameHost(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin;
}
