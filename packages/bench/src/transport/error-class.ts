/** What can go wrong with a request, by name: how it is recognised, what it means, what to do. */
import type { ErrorClass } from "../contracts.ts";
import { PROXY_ERROR } from "./proxy.ts";

/** Meaning and advice of an error class, one sentence each. */
export interface ErrorClassInfo {
  /** Where in a request's life it happens. */
  readonly phase: "connect" | "reply" | "stream" | "client";
  readonly meaning: string;
  readonly advice: string;
}

const info = (phase: ErrorClassInfo["phase"], meaning: string, advice: string): ErrorClassInfo => ({
  phase,
  meaning,
  advice,
});

/** Every class of failure. */
export const errorClasses: Readonly<Record<ErrorClass, ErrorClassInfo>> = {
  dns: info(
    "connect",
    "The host name could not be resolved.",
    "Check the spelling of the host in --url, and the name server.",
  ),
  refused: info(
    "connect",
    "Nothing listens at that address and port.",
    "Start the server, or correct the port in --url.",
  ),
  unreachable: info(
    "connect",
    "There is no route to the host.",
    "Check the network, a firewall or a VPN between here and there.",
  ),
  tls: info(
    "connect",
    "The TLS handshake failed.",
    "Give the authority with --ca, use http:// for a server without TLS, or --insecure for a test.",
  ),
  proxy: info(
    "connect",
    "The proxy could not be reached or refused the connection.",
    "Check --proxy and its credentials.",
  ),
  "connect-timeout": info(
    "connect",
    "No connection within the connect timeout.",
    "The host drops packets or its accept queue is full; raise timeouts.connect to wait longer.",
  ),
  "bad-request": info(
    "reply",
    "The server did not accept the request (400, 422).",
    "Read its message; a server that does not know ignore_eos or min_tokens needs ignoreEos off.",
  ),
  unauthorized: info(
    "reply",
    "The key is missing or not accepted (401, 403).",
    "Give the API key.",
  ),
  "not-found": info(
    "reply",
    "There is no such path or model (404, 405).",
    "Check that --url ends where /v1 begins, and the name of the model.",
  ),
  "request-timeout": info(
    "reply",
    "The server gave up waiting (408).",
    "The server is overloaded or its own limit is short.",
  ),
  "too-large": info(
    "reply",
    "The prompt is larger than the server takes (413).",
    "Shorten prompts.",
  ),
  "rate-limited": info(
    "reply",
    "The server refuses this rate (429).",
    "Overload is a result, so it counts; lower the rate, or raise the server's limit.",
  ),
  overloaded: info(
    "reply",
    "The server is loading, draining or overloaded (503, 529).",
    "Wait until it is ready; under load this is a result and counts.",
  ),
  "server-error": info(
    "reply",
    "The server failed (500 and other 5xx).",
    "Look into the server's log.",
  ),
  "bad-gateway": info(
    "reply",
    "A gateway got no usable answer from the server behind it (502).",
    "Look into the gateway's and the server's logs.",
  ),
  "gateway-timeout": info(
    "reply",
    "A gateway gave up waiting for the server behind it (504).",
    "Raise the gateway's read timeout above the longest prefill.",
  ),
  "http-status": info(
    "reply",
    "The server replied with a status that makes no sense here.",
    "Check --url.",
  ),
  redirect: info(
    "reply",
    "The server redirects (3xx); a load generator does not follow.",
    "Give the final address as --url.",
  ),
  html: info(
    "reply",
    "The reply is a web page.",
    "--url names a web site or a gateway's error page, not the API.",
  ),
  "not-a-stream": info(
    "reply",
    "The reply is one JSON document although a stream was asked for.",
    "The server ignores stream: true, or sent an error with status 200.",
  ),
  "reset-before-stream": info(
    "reply",
    "The connection ended before a reply came.",
    "The server crashed, or closes connections when it is overloaded.",
  ),
  "first-token-timeout": info(
    "stream",
    "No text within the first-token timeout.",
    "The server queues for longer than timeouts.firstToken.",
  ),
  "idle-timeout": info(
    "stream",
    "Nothing came for longer than the idle timeout.",
    "The stream stalled for longer than timeouts.idle.",
  ),
  "total-timeout": info(
    "stream",
    "The request took longer than the total timeout.",
    "The server is too slow for timeouts.total, or never ends.",
  ),
  reset: info(
    "stream",
    "The connection broke in the middle of the stream.",
    "The server, or a proxy on the way, closed it.",
  ),
  "error-event": info(
    "stream",
    "The server reported an error inside the stream.",
    "Read its message.",
  ),
  protocol: info(
    "stream",
    "The reply is not a valid stream of JSON events.",
    "The server, or a proxy on the way, is not OpenAI-compatible here.",
  ),
  incomplete: info(
    "stream",
    "The stream ended without a finish reason.",
    "The server cut the answer off without saying why.",
  ),
  "no-tokens": info(
    "stream",
    "The request finished without a single token.",
    "An immediate end-of-sequence: check the prompt, or send ignore_eos.",
  ),
  endless: info(
    "stream",
    "The server sent far more than was asked for and did not stop.",
    "It ignores max_tokens.",
  ),
  cancelled: info(
    "client",
    "The run ended while the request was in flight.",
    "Raise drainSeconds to let requests end.",
  ),
  client: info(
    "client",
    "The load generator itself failed.",
    "This is a bug or a limit of this machine: see the message.",
  ),
};

/** Failures that say nothing of load: nothing is there, or it does not want us. */
export const notOfLoad: ReadonlySet<ErrorClass> = new Set([
  "dns",
  "refused",
  "unreachable",
  "tls",
  "proxy",
  "connect-timeout",
  "bad-request",
  "unauthorized",
  "not-found",
  "redirect",
  "html",
  "not-a-stream",
]);

/** Class of an HTTP status other than 200. */
export function classOfStatus(status: number): ErrorClass {
  switch (status) {
    case 400:
    case 422:
      return "bad-request";
    case 401:
    case 403:
      return "unauthorized";
    case 404:
    case 405:
      return "not-found";
    case 408:
      return "request-timeout";
    case 413:
      return "too-large";
    case 429:
      return "rate-limited";
    case 502:
      return "bad-gateway";
    case 503:
    case 529:
      return "overloaded";
    case 504:
      return "gateway-timeout";
  }
  if (status >= 500) return "server-error";
  if (status >= 300 && status < 400) return "redirect";
  if (status >= 400) return "bad-request";
  return "http-status";
}

const tlsCode =
  /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|EPROTO|HOSTNAME_MISMATCH|INVALID_CA|ERR_OSSL)/;

/** Class of a socket error; `stage` is how far the request had come. */
export function classOfSocketError(
  code: string,
  stage: "connecting" | "connected" | "streaming",
): ErrorClass {
  if (code === PROXY_ERROR) return "proxy";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "EAI_FAIL" || code === "EAI_NODATA")
    return "dns";
  if (code === "ECONNREFUSED") return "refused";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EADDRNOTAVAIL")
    return "unreachable";
  if (code === "EMFILE" || code === "ENFILE") return "client";
  if (tlsCode.test(code)) return "tls";
  if (code === "ETIMEDOUT" && stage === "connecting") return "connect-timeout";
  if (code.startsWith("HPE_")) return "protocol";
  return stage === "streaming" ? "reset" : "reset-before-stream";
}
