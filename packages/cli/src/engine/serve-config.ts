/** From flags and a serve.yaml to engine and server options; shared by every command that opens an engine. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { MillraceError } from "@millrace/core";
import { readConfig } from "@millrace/core/config";
import { readTextFile } from "@millrace/core/node";
import { type ModelCard, readModelCard } from "@millrace/engine";
import { resolveServe, type ServeOptions, serveSchema } from "@millrace/engine/config";
import { parseStepProfile } from "@millrace/serving";
import { pathBeside } from "../references.ts";

/** Query rows below which flash attention leaves its tiled path on a CPU. */
const TILE_TOKENS = 64;

/** Flags that are short for --set, by their camel-case names. */
const shortcuts = {
  model: "model",
  name: "name",
  executor: "executor",
  device: "device",
  threads: "threads",
  context: "contextTokens",
  chatTemplate: "chatTemplate",
  scheduler: "scheduler.type",
  chunkSize: "scheduler.chunkSize",
  batchSizeCap: "scheduler.batchSizeCap",
  kv: "kv.type",
  kvMemory: "kv.memory",
  pageSize: "kv.page",
  layout: "kv.layout",
  profile: "profile",
  maxWaiting: "maxWaiting",
  host: "server.host",
  port: "server.port",
  apiKeyFile: "server.apiKeyFile",
  decisionLog: "logs.decisions",
  timingLog: "logs.timings",
} as const;

export interface OpenedConfig extends ServeOptions {
  readonly card: ModelCard;
}

/** Reads --config and the flags over it, and the header of the model. */
export function readServeConfig(flags: Readonly<Record<string, unknown>>): OpenedConfig {
  const file = typeof flags.config === "string" ? flags.config : null;
  const set = [
    ...Object.entries(shortcuts).flatMap(([flag, path]) =>
      flags[flag] === undefined ? [] : [`${path}=${JSON.stringify(plain(flags[flag]))}`],
    ),
    ...(flags.deterministic === true ? ["deterministic=true"] : []),
    ...(flags.prefixSharing === false ? ["kv.prefixSharing=false"] : []),
    ...((flags.set as readonly string[] | undefined) ?? []),
  ];
  if (file === null && flags.model === undefined)
    throw new MillraceError("USAGE", "no model is named", {
      hint: existsSync("serve.yaml")
        ? "--config serve.yaml, or --model FILE.gguf"
        : "--model FILE.gguf; millrace model make --preset small --out small.gguf makes one to try",
    });
  const { value } = readConfig(file === null ? "" : readTextFile(file), {
    file: file ?? "command line",
    schema: serveSchema,
    set,
  });
  const filePath = pathBeside(file);
  const card = readModelCard(filePath(value.model));
  const options = resolveServe(value, {
    cores: availableParallelism(),
    modelContextTokens: card.contextTokens,
    tileTokens: TILE_TOKENS,
    filePath,
    readText: readTextFile,
    readProfile: (path) => parseStepProfile(readTextFile(path), path),
  });
  return { ...options, card };
}

/** Numbers of flags as numbers; sizes and names as texts. */
function plain(value: unknown): unknown {
  return typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}
