/** Where requests of a run go: address, path, headers and connections, worked out once. */
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { MillraceError } from "@millrace/core";
import type { Endpoint } from "../contracts.ts";

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
  if (endpoint.proxy !== undefined)
    throw new MillraceError("CONFIG_INVALID", "requests through a proxy cannot be measured yet", {
      hint: "give an address that can be reached directly",
    });
  const secure = url.protocol === "https:";
  const agent = secure
    ? new https.Agent({
        keepAlive: true,
        rejectUnauthorized: endpoint.insecure !== true,
        ...(endpoint.caFile === undefined ? {} : { ca: authorities(endpoint.caFile) }),
      })
    : new http.Agent({ keepAlive: true });
  const key = endpoint.apiKey ?? (url.password || undefined);
  return {
    secure,
    agent,
    url: `${url.protocol}//${url.host}${url.pathname}`,
    options: {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      method: "POST",
      agent,
      headers: {
        accept: "text/event-stream",
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...endpoint.headers,
      },
    },
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
