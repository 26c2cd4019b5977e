/** Real stores for the tests: started on loopback, on a free port, ended with the test. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether the programs are there. In CI they have to be: a suite that needs them then fails instead of being skipped. */
export function storesInstalled(): boolean {
  const missing = ["redis-server", "memcached", "openssl"].filter(
    (name) => spawnSync(name, [name === "openssl" ? "version" : "--version"]).status !== 0,
  );
  if (missing.length > 0 && process.env["CI"] !== undefined)
    throw new Error(`CI lacks ${missing.join(", ")}: see .ci/run`);
  return missing.length === 0;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A running server. */
export interface StoreServer extends AsyncDisposable {
  readonly port: number;
  readonly process: ChildProcess;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a program and waits until it says that it listens. */
async function start(
  port: number,
  command: string,
  args: readonly string[],
  ready: RegExp,
): Promise<StoreServer> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      said += chunk;
      if (ready.test(said)) resolve();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("exit", () => reject(new Error(`${command} ended: ${said}`)));
  });
  const kill = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  };
  return { port, process: child, kill, [Symbol.asyncDispose]: kill };
}

/** Certificates of an authority of our own for localhost, in a folder that lives as long as the process. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

let made: Certificates | undefined;

export function certificates(): Certificates {
  if (made !== undefined) return made;
  const dir = mkdtempSync(join(tmpdir(), "millrace-tls-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  const [ca, caKey, cert, key] = ["ca.crt", "ca.key", "host.crt", "host.key"].map((f) =>
    join(dir, f),
  ) as [string, string, string, string];
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "ignore" });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...curve,
    "-keyout",
    caKey,
    "-out",
    ca,
    "-days",
    "2",
    "-subj",
    "/CN=test authority",
  );
  const csr = join(dir, "host.csr");
  openssl("req", ...curve, "-keyout", key, "-out", csr, "-subj", "/CN=localhost");
  const names = join(dir, "names");
  writeFileSync(names, "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  openssl(
    "x509",
    "-req",
    "-in",
    csr,
    "-CA",
    ca,
    "-CAkey",
    caKey,
    "-CAcreateserial",
    "-days",
    "2",
    "-extfile",
    names,
    "-out",
    cert,
  );
  made = { ca, cert, key };
  return made;
}

export const caOf = ({ ca }: Certificates): string => readFileSync(ca, "utf8");

/** redis-server with noeviction; `more` are further arguments. */
export async function startRedis(
  more: readonly string[] = [],
  tls = false,
  onPort?: number,
): Promise<StoreServer> {
  const port = onPort ?? (await freePort());
  const { ca, cert, key } = tls ? certificates() : { ca: "", cert: "", key: "" };
  return start(
    port,
    "redis-server",
    [
      ...(tls
        ? [
            "--port",
            "0",
            "--tls-port",
            String(port),
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            ca,
            "--tls-auth-clients",
            "no",
          ]
        : ["--port", String(port)]),
      ...[
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxmemory-policy",
        "noeviction",
      ],
      ...more,
    ],
    /Ready to accept connections/,
  );
}

/** memcached with -M (refuse instead of evict). */
export async function startMemcached(
  more: readonly string[] = [],
  tls = false,
  onPort?: number,
): Promise<StoreServer> {
  const port = onPort ?? (await freePort());
  const { cert, key } = tls ? certificates() : { cert: "", key: "" };
  return start(
    port,
    "memcached",
    [
      ...["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-M", "-I", "8m", "-u", "root", "-vv"],
      ...(tls ? ["-Z", "-o", `ssl_chain_cert=${cert},ssl_key=${key}`] : []),
      ...more,
    ],
    /server listening/,
  );
}
