/** Flags that name an endpoint and how to talk to it; shared by every command that sends requests. */
import { readFileSync } from "node:fs";
import type { Endpoint, TimeoutsSeconds } from "@millrace/bench";
import { MillraceError, parseSeconds } from "@millrace/core";

const timeoutNames = {
  connect: "connect",
  "first-token": "firstToken",
  idle: "idle",
  total: "total",
} as const satisfies Readonly<Record<string, keyof TimeoutsSeconds>>;

type Flags = Readonly<Record<string, unknown>>;

/**
 * The endpoint that the flags name. Asks the server for its models when no model is named. Throws USAGE for flags that
 * cannot be read.
 */
export async function endpointOf(
  flags: Flags,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Endpoint> {
  const text = (name: string): string | undefined => flags[name] as string | undefined;
  const url = text("url");
  if (url === undefined)
    throw new MillraceError("USAGE", "nothing says which endpoint to measure", {
      hint: "name it with --url, e.g. --url http://127.0.0.1:8080; `millrace bench mock` starts one to try",
    });
  const apiKey = text("apiKey") ?? environment.MILLRACE_API_KEY ?? environment.OPENAI_API_KEY;
  const [caFile, proxy, choices] = [text("ca"), text("proxy"), flags.choices as number | undefined];
  if (caFile !== undefined) readable(caFile);
  const endpoint: Omit<Endpoint, "model"> = {
    url,
    api: flags.api === "completions" ? "completions" : "chat",
    ...(apiKey !== undefined && apiKey !== "" && { apiKey }),
    ...(flags.header !== undefined && { headers: headersOf(flags.header as readonly string[]) }),
    ...(caFile !== undefined && { caFile }),
    ...(flags.insecure === true && { insecure: true }),
    ...(proxy !== undefined && { proxy }),
    ...(choices !== undefined && { choices }),
    ...(flags.naturalEnd === true && { ignoreEos: false }),
    ...(flags.extraBody !== undefined && { extraBody: bodyOf(String(flags.extraBody)) }),
    ...(flags.attribute === true && { serverTimes: true }),
    ...(flags.retry === "client" && { retry: "client" as const }),
    ...(flags.timeout !== undefined && { timeouts: timeoutsOf(String(flags.timeout)) }),
  };
  const { listModels } = await import("@millrace/bench");
  const model = text("model") ?? (await onlyModel(endpoint, listModels));
  return { ...endpoint, model };
}

async function onlyModel(
  endpoint: Omit<Endpoint, "model">,
  list: (endpoint: Omit<Endpoint, "model">) => Promise<readonly string[]>,
): Promise<string> {
  const models = await list(endpoint);
  const [first] = models;
  if (first !== undefined && models.length === 1) return first;
  throw new MillraceError(
    "USAGE",
    models.length === 0
      ? `${endpoint.url} lists no models`
      : `${endpoint.url} serves ${models.length} models: ${models.slice(0, 8).join(", ")}`,
    { hint: "name the one to ask for with --model" },
  );
}

function readable(file: string): void {
  try {
    readFileSync(file);
  } catch (error) {
    throw new MillraceError("FILE_UNREADABLE", `--ca: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function headersOf(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = "", value = ""] = /^\s*([!#$%&'*+\-.^_`|~\w]+)\s*:\s*(.*)$/.exec(line) ?? [];
      if (name === "")
        throw new MillraceError("USAGE", `--header: ${JSON.stringify(line)} is not name:value`);
      return [name.toLowerCase(), value];
    }),
  );
}

function bodyOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new MillraceError("USAGE", `--extra-body: ${text} is not a JSON object`, {
    hint: `quote it for the shell: --extra-body '{"temperature":0}'`,
  });
}

function timeoutsOf(text: string): Partial<TimeoutsSeconds> {
  return Object.fromEntries(
    text.split(",").map((part) => {
      const [name = "", time] = part.split("=");
      const key = timeoutNames[name.trim() as keyof typeof timeoutNames];
      if (key === undefined || time === undefined)
        throw new MillraceError("USAGE", `--timeout: ${JSON.stringify(part)} is not understood`, {
          hint: `write name=time; names are ${Object.keys(timeoutNames).join(", ")}`,
        });
      return [key, parseSeconds(time, `--timeout ${name}`)];
    }),
  );
}
