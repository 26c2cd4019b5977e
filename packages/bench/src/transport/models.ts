/** Asks a server which models it serves. */
import http from "node:http";
import https from "node:https";
import { MillraceError } from "@millrace/core";
import type { Endpoint } from "../contracts.ts";
import { classOfSocketError, classOfStatus, errorClasses } from "./error-class.ts";
import { targetOf } from "./target.ts";

const TIMEOUT_MS = 10_000;
const MOST_BYTES = 4 << 20;

/** Names in the order of the server's list. Throws ENVIRONMENT_MISSING with the class of failure when it cannot be had. */
export async function listModels(endpoint: Omit<Endpoint, "model">): Promise<readonly string[]> {
  const { options, secure, agent } = targetOf({ ...endpoint, model: "" });
  const path = String(options.path).replace(/\/(chat\/)?completions(\?.*)?$/, "/models");
  const failed = (kind: keyof typeof errorClasses, message: string): MillraceError =>
    new MillraceError("ENVIRONMENT_MISSING", `${endpoint.url} (${kind}): ${message}`, {
      hint: `${errorClasses[kind].meaning} ${errorClasses[kind].advice}`,
    });
  try {
    return await new Promise((resolve, reject) => {
      const request = (secure ? https : http).request({ ...options, path, method: "GET" });
      request.setTimeout(TIMEOUT_MS, () =>
        request.destroy(
          Object.assign(new Error(`no answer within ${TIMEOUT_MS / 1000} s`), {
            code: "ETIMEDOUT",
          }),
        ),
      );
      request.on("error", (error: NodeJS.ErrnoException) =>
        reject(failed(classOfSocketError(error.code ?? "", "connecting"), error.message)),
      );
      request.on("response", (response) => {
        const parts: Buffer[] = [];
        let size = 0;
        response.on("data", (part: Buffer) => {
          size += part.length;
          if (size > MOST_BYTES) request.destroy(new Error("its list of models never ends"));
          else parts.push(part);
        });
        response.on("end", () => {
          const status = response.statusCode ?? 0;
          if (status !== 200)
            reject(failed(classOfStatus(status), `GET ${path} is answered with ${status}`));
          else {
            const names = namesIn(Buffer.concat(parts).toString());
            if (names === null) reject(failed("not-found", `GET ${path} is no list of models`));
            else resolve(names);
          }
        });
      });
      request.end();
    });
  } finally {
    agent.destroy();
  }
}

function namesIn(text: string): readonly string[] | null {
  try {
    const { data } = JSON.parse(text) as { readonly data?: readonly { readonly id?: unknown }[] };
    return data?.map(({ id }) => id).filter((id) => typeof id === "string") ?? null;
  } catch {
    return null;
  }
}
