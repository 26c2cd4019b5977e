/** Requests through an HTTP proxy: http targets are asked of the proxy by their full URL, https targets are tunnelled. */
import http from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { MillraceError } from "@millrace/core";

/** A proxy, worked out. */
export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  /** Basic credentials, or null. */
  readonly authorization: string | null;
}

/** Code of socket errors that are the proxy's fault; error-class.ts knows it. */
export const PROXY_ERROR = "MILLRACE_PROXY";

/** Reads `http://[user:password@]host:port`. Throws CONFIG_INVALID. */
export function proxyOf(text: string): HttpProxy {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new MillraceError("CONFIG_INVALID", `the proxy ${JSON.stringify(text)} is not a URL`, {
      hint: "give one such as http://proxy:3128",
    });
  }
  if (url.protocol !== "http:")
    throw new MillraceError("CONFIG_INVALID", `the proxy ${url.host} is not an http:// proxy`, {
      hint: "only HTTP proxies can be used; targets may be https",
    });
  const { username, password } = url;
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 80 : Number(url.port),
    authorization: username === "" ? null : `Basic ${Buffer.from(pair).toString("base64")}`,
  };
}

function failure(message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code: PROXY_ERROR });
}

/** An agent whose connections are tunnels through the proxy, TLS inside. */
export class TunnelAgent extends https.Agent {
  private readonly proxy: HttpProxy;

  constructor(proxy: HttpProxy, options: https.AgentOptions) {
    super(options);
    this.proxy = proxy;
  }

  override createConnection(
    options: http.ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex {
    const { host, port, authorization } = this.proxy;
    const target = `${options.host}:${options.port}`;
    // No stream yet: it comes by the callback, which agents allow and their types do not.
    const none = undefined as unknown as Duplex;
    const connect = http.request({
      ...{ host, port, method: "CONNECT", path: target, agent: false },
      headers: {
        host: target,
        ...(authorization !== null && { "proxy-authorization": authorization }),
      },
    });
    connect.once("connect", (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        callback?.(failure(`the proxy answered CONNECT with ${response.statusCode}`), none);
        return;
      }
      const inside = options as tls.ConnectionOptions;
      const secure = tls.connect({ ...inside, socket, servername: String(options.host) });
      // The tunnel counts as connected when TLS is through; errors before are the handshake's.
      const refuse = (error: Error): void => callback?.(error, none);
      secure.once("error", refuse);
      secure.once("secureConnect", () => {
        secure.off("error", refuse);
        callback?.(null, secure);
      });
    });
    connect.once("error", (error) => callback?.(failure(`proxy: ${error.message}`), none));
    connect.end();
    return none;
  }
}
