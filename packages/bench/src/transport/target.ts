/** Where requests of a run go: address, path, headers and connections, worked out once. */
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { MillraceError } from "@millrace/core";
import type { Endpoint } from "../contracts.ts";
import { type HttpProxy, proxyOf, TunnelAgent } from "./proxy.ts";

export interface Target {
  readonly secure: boolean;
  /** For http.request and https.request; one agent for the whole run, without a limit on connections. */
  readonly options: http.RequestOptions;
  readonly agent: http.Agent;
  /** Full URL without credentials, for people. */
  readonly url: string;
}

const paths = { chat: "/chat/completions", completions: "/completions" } as const;

/** Works out the target. Throws CONFIG_INVALID for a URL, header or file of authorities that cannot be used. */
export function targetOf(endpoint: Endpoint): Target {
  const url = urlOf(endpoint);
  const proxy = endpoint.proxy === undefined ? null : proxyOf(endpoint.proxy);
  const secure = url.protocol === "https:";
  const agent = secure ? secureAgent(endpoint, proxy) : new http.Agent({ keepAlive: true });
  const key = endpoint.apiKey ?? (url.password || undefined);
  return {
    secure,
    agent,
    url: `${url.protocol}//${url.host}${url.pathname}`,
    options: {
      ...addressOf(url, secure ? null : proxy),
      method: "POST",
      agent,
      headers: {
        ...(proxy !== null && !secure ? { host: url.host } : {}),
        accept: "text/event-stream",
        "content-type": "application/json",
        ...(proxy?.authorization != null && !secure
          ? { "proxy-authorization": proxy.authorization }
          : {}),
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...endpoint.headers,
      },
    },
  };
}

function secureAgent({ insecure, caFile }: Endpoint, proxy: HttpProxy | null): https.Agent {
  const options = {
    keepAlive: true,
    rejectUnauthorized: insecure !== true,
    ...(caFile === undefined ? {} : { ca: authorities(caFile) }),
  };
  return proxy === null ? new https.Agent(options) : new TunnelAgent(proxy, options);
}

/** Where to connect and what to ask for: a proxy is asked for the full URL. */
function addressOf(url: URL, proxy: HttpProxy | null): http.RequestOptions {
  if (proxy !== null)
    return {
      ...{ host: proxy.host, port: proxy.port, path: url.href },
    };
  const secure = url.protocol === "https:";
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
  };
}

function urlOf({ url: given, api }: Endpoint): URL {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new MillraceError("CONFIG_INVALID", `${JSON.stringify(given)} is not a URL`, {
      hint: "give one such as http://127.0.0.1:8080",
    });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new MillraceError("CONFIG_INVALID", `${given}: ${url.protocol} is not http or https`);
  const path = url.pathname.replace(/\/+$/, "");
  if (path.endsWith("/completions")) url.pathname = path;
  else url.pathname = `${/\/v\d+$/.test(path) ? path : `${path}/v1`}${paths[api]}`;
  return url;
}

/** The built-in authorities stay: a file of one's own comes beside them. */
function authorities(file: string): string[] {
  return [...tlsRoots(), readFileSync(file, "utf8")];
}

function tlsRoots(): readonly string[] {
  // Loaded late: it parses some hundred certificates.
  return (process.getBuiltinModule("node:tls") as typeof import("node:tls")).rootCertificates;
}
