/** Failures of the network on real sockets: TLS, names, routes, timeouts, proxies. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint, RequestRecord } from "../contracts.ts";
import { startRun } from "../run/run.ts";
import { wordByWord } from "../run/test-server.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-tls-"));
const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
const open: Server[] = [];
let secureUrl: string;
let plainUrl: string;

async function listen(server: Server): Promise<number> {
  open.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const answer: http.RequestListener = (request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>;
    void wordByWord(response, body, 0, request);
  });
};

beforeAll(async () => {
  const made = spawnSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
    ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
  ]);
  expect(made.status, String(made.stderr)).toBe(0);
  const tlsOptions = { key: readFileSync(key), cert: readFileSync(cert) };
  secureUrl = `https://127.0.0.1:${await listen(https.createServer(tlsOptions, answer))}`;
  plainUrl = `http://127.0.0.1:${await listen(http.createServer(answer))}`;
});
afterAll(() => {
  for (const server of open) {
    if (server instanceof http.Server || server instanceof https.Server)
      server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
});

async function one(endpoint: Partial<Endpoint> & { url: string }): Promise<RequestRecord> {
  const run = startRun({
    endpoint: { api: "chat", model: "m", ...endpoint },
    load: {
      arrivals: { type: "static" },
      lengths: { type: "fixed", prompt: 3, output: 4 },
      requests: 1,
    },
    ...{ seed: 1, workers: 0 },
  });
  for await (const record of run) return record;
  throw new Error("no record");
}

test("a certificate that nobody vouches for is a class of its own; --ca and --insecure help", async () => {
  expect((await one({ url: secureUrl })).error?.class).toBe("tls");
  expect((await one({ url: secureUrl, caFile: cert })).status).toBe("ok");
  expect((await one({ url: secureUrl, insecure: true })).status).toBe("ok");
});

test("TLS spoken to a server without it, and the other way round", async () => {
  expect((await one({ url: plainUrl.replace("http:", "https:") })).error?.class).toBe("tls");
  const wrong = await one({ url: secureUrl.replace("https:", "http:") });
  expect(wrong.status).toBe("failed");
});

test("a name that does not exist, a port where nobody listens", async () => {
  expect((await one({ url: "http://no-such-host.invalid" })).error?.class).toBe("dns");
  expect((await one({ url: "http://127.0.0.1:1" })).error?.class).toBe("refused");
});

test("a TLS handshake that never ends is a connect timeout", async () => {
  const silent = createServer(() => {});
  const port = await listen(silent);
  const record = await one({ url: `https://127.0.0.1:${port}`, timeouts: { connect: 0.2 } });
  expect(record.error?.class).toBe("connect-timeout");
});

/** A proxy that counts what goes through it and may want credentials. */
async function proxy(credentials: string | null): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = [];
  const allowed = (header: string | undefined): boolean =>
    credentials === null || header === `Basic ${Buffer.from(credentials).toString("base64")}`;
  const server = http.createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    if (!allowed(request.headers["proxy-authorization"])) {
      response.writeHead(407).end();
      return;
    }
    const target = new URL(request.url ?? "");
    const onward = http.request(target, { method: request.method, headers: request.headers });
    request.pipe(onward);
    onward.on("response", (reply) => {
      response.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(response);
    });
  });
  server.on("connect", (request, socket) => {
    seen.push(`CONNECT ${request.url}`);
    if (!allowed(request.headers["proxy-authorization"])) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      return;
    }
    const [host = "", port] = (request.url ?? "").split(":");
    const onward = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket);
      socket.pipe(onward);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  return {
    url: `http://${credentials === null ? "" : `${credentials}@`}127.0.0.1:${await listen(server)}`,
    seen,
  };
}

test("http goes through a proxy by its URL, https through a tunnel", async () => {
  const { url, seen } = await proxy("user:secret");
  expect((await one({ url: plainUrl, proxy: url })).status).toBe("ok");
  expect((await one({ url: secureUrl, caFile: cert, proxy: url })).status).toBe("ok");
  expect(seen).toEqual([
    `POST ${plainUrl}/v1/chat/completions`,
    `CONNECT ${secureUrl.slice("https://".length)}`,
  ]);
});

test("a proxy that refuses, and one that is not there, are the proxy's fault", async () => {
  const { url } = await proxy("user:secret");
  const refused = await one({
    url: secureUrl,
    caFile: cert,
    proxy: url.replace("secret", "wrong"),
  });
  expect(refused.error).toMatchObject({ class: "proxy" });
  expect((await one({ url: secureUrl, proxy: "http://127.0.0.1:1" })).error?.class).toBe("proxy");
  await expect(one({ url: plainUrl, proxy: "socks5://x" })).rejects.toThrow(
    "is not an http:// proxy",
  );
});
