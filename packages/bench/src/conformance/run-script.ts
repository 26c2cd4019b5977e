/** Plays scripted streams over real sockets and compares what a client made of them. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Endpoint, RequestRecord } from "../contracts.ts";
import { startRun } from "../run/run.ts";
import type { Act, Expected, StreamScript } from "./script.ts";

/** Sends the one request of a script and returns what became of it. */
export type Drive = (script: StreamScript, url: string) => Promise<RequestRecord>;

/** A difference between what was expected and what came. */
export interface Difference {
  readonly key: string;
  readonly expected: unknown;
  readonly actual: unknown;
}

/** What became of a script; no differences = passed. */
export interface ScriptResult {
  readonly script: StreamScript;
  readonly record: RequestRecord;
  readonly differences: readonly Difference[];
}

/** Plays one script on loopback. */
export async function runScript(
  script: StreamScript,
  drive: Drive = ourDrive,
): Promise<ScriptResult> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      play(script, response).catch(() => response.destroy());
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const record = await drive(script, url);
    return { script, record, differences: differences(script.expected, record) };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function play(script: StreamScript, response: ServerResponse): Promise<void> {
  const { status = 200, headers = { "content-type": "text/event-stream" }, acts } = script;
  response.socket?.setNoDelay(true);
  if (status > 0) {
    response.writeHead(status, headers);
    response.flushHeaders();
  }
  for (const act of acts) if (!(await perform(act, response))) return;
}

/** False when nothing can follow. */
async function perform(act: Act, response: ServerResponse): Promise<boolean> {
  if (act === "END") response.end();
  else if (act === "RESET") response.socket?.resetAndDestroy();
  else if (act === "SILENCE") return false;
  else if (typeof act === "object" && "pauseMs" in act)
    await new Promise((resolve) => setTimeout(resolve, act.pauseMs));
  else if (act.length > 0) {
    response.write(act);
    // A turn of the loop between writes, so that they reach the other side apart.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return act !== "END" && act !== "RESET";
}

/** Our own client. */
export const ourDrive: Drive = async (script, url) => {
  const { api = "chat", askedTokens = 3, askedChoices = 1, timeouts } = script;
  const endpoint: Endpoint = {
    ...{ url, api, model: "m", choices: askedChoices },
    ...(timeouts !== undefined && { timeouts }),
  };
  const run = startRun({
    endpoint,
    load: {
      arrivals: { type: "static" },
      lengths: { type: "fixed", prompt: 7, output: askedTokens },
      requests: 1,
    },
    ...{ seed: 1, workers: 0, keepText: true },
  });
  for await (const record of run) return record;
  throw new Error("the run gave no record");
};

/** Compares what is expected with the record. */
export function differences(expected: Expected, record: RequestRecord): readonly Difference[] {
  const { chunks, usage, error } = record;
  const rows = [...chunks.timeUs.keys()];
  const actual: { readonly [K in keyof Required<Expected>]: unknown } = {
    status: record.status,
    error: error?.class,
    tokens: record.tokens,
    source: record.tokenSource,
    text: record.text,
    finish: record.finish,
    chunkTokens: rows.map((i) => chunks.tokens[i]),
    kinds: rows.map((i) => chunks.kind[i]),
    choices: rows.map((i) => chunks.choice[i]),
    warnings: record.warnings,
    cachedTokens: usage?.cachedTokens,
    reasoningTokens: usage?.reasoningTokens,
    message: error?.message,
    retryAfterSeconds: error?.retryAfterSeconds,
    textAfterFirstEvent: record.firstTokenUs > record.firstEventUs,
  };
  return (Object.keys(expected) as (keyof Expected)[])
    .filter((key) =>
      key === "message"
        ? !String(actual.message).includes(String(expected.message))
        : JSON.stringify(actual[key]) !== JSON.stringify(expected[key]),
    )
    .map((key) => ({ key, expected: expected[key], actual: actual[key] }));
}
