/**
 * Items by HTTP range requests: shards on a web server or an object store with plain GET. A read-through source, to be
 * put behind a cache; not the hot path between servers.
 */
import { type IncomingMessage, Agent as PlainAgent, request as requestPlain } from "node:http";
import { request as requestTls, Agent as TlsAgent } from "node:https";
import { relative, sep } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ConnectionOptions } from "node:tls";
import { MillraceError } from "@millrace/core";
import type {
  ReadCounts,
  ReadRequest,
  ReadResult,
  StorageReader,
} from "../fetch/storage-reader.ts";
import type { Extent } from "../source/source.ts";

export interface HttpReaderOptions {
  /** Where the data set lies by its own account; paths below it become URLs below `url`. */
  readonly root: string;
  /** http: or https: address of the same folder. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly tls?: Pick<ConnectionOptions, "ca" | "cert" | "key">;
  /** Connections kept open, default 8. */
  readonly connections?: number;
  /** Attempts after the first, default 3, from 50 ms, doubling. */
  readonly retries?: number;
  /** Most seconds without a byte, default 30. */
  readonly timeoutSeconds?: number;
}

/** An answer that another attempt would not change. */
class Final extends Error {}

export class HttpReader implements StorageReader {
  readonly name: string;
  private readonly options: HttpReaderOptions;
  private readonly base: URL;
  private readonly agent: PlainAgent;
  private readonly totals = { reads: 0, bytes: 0, storageBytes: 0, retries: 0, failures: 0 };

  /** Throws MillraceError CONFIG_INVALID for an address that is not http or https. */
  constructor(options: HttpReaderOptions) {
    const url = URL.canParse(options.url) ? new URL(options.url) : null;
    if (url === null || !/^https?:$/.test(url.protocol))
      throw new MillraceError("CONFIG_INVALID", "a remote data set has an http or https address", {
        hint: "for example https://host/datasets/imagenet",
      });
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    this.base = url;
    this.options = options;
    this.name = `${url.protocol}//${url.host}${url.pathname}`;
    const settings = { keepAlive: true, maxSockets: options.connections ?? 8 };
    this.agent =
      url.protocol === "https:"
        ? new TlsAgent({ ...settings, ...options.tls })
        : new PlainAgent(settings);
  }

  room(extent: Extent): number {
    return Math.max(1, extent.bytes);
  }

  async read({ extent }: ReadRequest, into: Uint8Array, signal?: AbortSignal): Promise<ReadResult> {
    const url = this.address(extent);
    const { retries = 3 } = this.options;
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      try {
        await this.attempt(url, extent, into, signal);
        this.totals.reads++;
        this.totals.bytes += extent.bytes;
        this.totals.storageBytes += extent.bytes;
        return { start: 0, storageBytes: extent.bytes };
      } catch (cause) {
        signal?.throwIfAborted();
        if (!(cause instanceof Final) && attempt < retries) {
          this.totals.retries++;
          await sleep(50 * 2 ** attempt, undefined, signal && { signal });
          continue;
        }
        this.totals.failures++;
        throw new MillraceError(
          "DATA_UNREADABLE",
          `${url.pathname} of ${url.host} cannot be read: ${(cause as Error).message}`,
          { cause },
        );
      }
    }
  }

  counts(): ReadCounts {
    return { ...this.totals };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.agent.destroy();
  }

  /** Throws MillraceError DATA_INVALID for a path that leaves the data set. */
  private address({ path }: Extent): URL {
    const inside = relative(this.options.root, path).split(sep);
    if (inside.some((part) => part === ".." || part === ""))
      throw new MillraceError("DATA_INVALID", `${path} lies outside ${this.options.root}`, {
        at: { file: path },
      });
    return new URL(inside.map(encodeURIComponent).join("/"), this.base);
  }

  private attempt(url: URL, extent: Extent, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { offset, bytes } = extent;
    if (bytes === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const send = url.protocol === "https:" ? requestTls : requestPlain;
      const request = send(
        url,
        {
          agent: this.agent,
          ...(signal && { signal }),
          timeout: (this.options.timeoutSeconds ?? 30) * 1000,
          headers: {
            ...this.options.headers,
            "accept-encoding": "identity",
            range: `bytes=${offset}-${offset + bytes - 1}`,
          },
        },
        (response) => {
          const refused = refusal(response, extent);
          if (refused !== null) {
            response.resume();
            reject(refused);
            return;
          }
          let got = 0;
          response.on("data", (chunk: Buffer) => {
            if (got + chunk.length > bytes)
              request.destroy(new Final("it sent more than was asked for"));
            else into.set(chunk, got);
            got += chunk.length;
          });
          response.on("end", () => {
            if (got === bytes) resolve();
            else reject(new Error(`it sent ${got} of ${bytes} bytes`));
          });
          response.on("error", reject);
        },
      );
      request.on("timeout", () => request.destroy(new Error("it does not answer")));
      request.on("error", reject);
      request.end();
    });
  }
}

/** Why an answer cannot be used; null when it can. */
function refusal(response: IncomingMessage, { offset, bytes }: Extent): Error | null {
  const { statusCode = 0, headers } = response;
  if (statusCode === 206) {
    const range = /^bytes (\d+)-(\d+)\//.exec(headers["content-range"] ?? "");
    const right = Number(range?.[1]) === offset && Number(range?.[2]) === offset + bytes - 1;
    return right ? null : new Final(`it sent the range ${headers["content-range"]}`);
  }
  // A server without ranges will do for items that are whole files.
  if (statusCode === 200)
    return offset === 0 && Number(headers["content-length"]) === bytes
      ? null
      : new Final("the server does not serve ranges, or the file has another size");
  const passing = statusCode >= 500 || statusCode === 429 || statusCode === 408;
  return new (passing ? Error : Final)(`status ${statusCode}`);
}
