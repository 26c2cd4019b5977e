/**
 * Requests to a Kubernetes API server. The optional package @kubernetes/client-node reads the configuration (files,
 * clusters, tokens, certificates, credential plugins, the account of a pod); requests go over node's own HTTP, because a
 * runner needs what the client's methods lack: a time limit for every request, and streams that say when they end.
 */
import http from "node:http";
import https from "node:https";
import { MillraceError } from "@millrace/core";

/** Where and as whom requests go. */
export interface Connection {
  /** Of the configuration's context. */
  readonly namespace: string;
  /** The API server's address. */
  readonly server: string;
  /** One request; resolves with the head of the answer. Rejects when there is none, or when the signal aborts. */
  open(
    method: string,
    path: string,
    body: { readonly type: string; readonly text: string } | null,
    signal: AbortSignal,
  ): Promise<http.IncomingMessage>;
}

/** Which configuration: a file, else KUBECONFIG, ~/.kube/config, or the pod's own account. */
export interface ConnectionOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** Credentials may be renewed: they are asked for again after so long. */
const credentialsMs = 60_000;

/** Loads the configuration. Throws ENVIRONMENT_MISSING without the client package, CONFIG_INVALID for a bad file. */
export async function connect(options: ConnectionOptions = {}): Promise<Connection> {
  const { KubeConfig } = await clientPackage();
  const config = new KubeConfig();
  try {
    if (options.kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(options.kubeconfig);
    if (options.context !== undefined) config.setCurrentContext(options.context);
  } catch (error) {
    throw new MillraceError(
      "CONFIG_INVALID",
      `the configuration of Kubernetes cannot be read: ${(error as Error).message}`,
      {
        hint: "name it with --kubeconfig or KUBECONFIG; kubectl config view shows it",
        cause: error,
      },
    );
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw new MillraceError(
      "CONFIG_INVALID",
      `the configuration of Kubernetes has no cluster for context ${config.getCurrentContext()}`,
      { hint: "kubectl config get-contexts lists them" },
    );
  const base = new URL(cluster.server);
  const send = base.protocol === "http:" ? http : https;
  let known: { readonly at: number; readonly options: https.RequestOptions } | null = null;
  const credentials = async (): Promise<https.RequestOptions> => {
    if (known !== null && performance.now() - known.at < credentialsMs) return known.options;
    const fresh: https.RequestOptions = {};
    await config.applyToHTTPSOptions(fresh);
    known = { at: performance.now(), options: fresh };
    return fresh;
  };
  return {
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? "default",
    server: cluster.server,
    open: async (method, path, body, signal) => {
      const given = await credentials();
      const headers: Record<string, string> = { Accept: "application/json" };
      for (const [name, value] of Object.entries(given.headers ?? {}))
        if (value !== undefined) headers[name] = String(value);
      if (body !== null) {
        headers["Content-Type"] = body.type;
        headers["Content-Length"] = String(Buffer.byteLength(body.text));
      }
      const url = new URL(base.pathname.replace(/\/$/, "") + path, base);
      return await new Promise((resolve, reject) => {
        const request = send.request(url, { ...given, headers, method, signal }, (answer) => {
          // A token that has run out is not kept.
          if (answer.statusCode === 401) known = null;
          resolve(answer);
        });
        request.on("error", reject);
        request.end(body?.text);
      });
    },
  };
}

async function clientPackage(): Promise<typeof import("@kubernetes/client-node")> {
  try {
    return await import("@kubernetes/client-node");
  } catch (error) {
    throw new MillraceError("ENVIRONMENT_MISSING", "the Kubernetes client is not installed", {
      hint: "npm install @kubernetes/client-node@1.4.0",
      cause: error,
    });
  }
}
