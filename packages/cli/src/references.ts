/** What names in configurations and on the command line stand for: catalogue entries and files. */
import { existsSync, statSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { parseConfig } from "@millrace/core/config";
import { readTextFile } from "@millrace/core/node";
import { findModel, type ModelSpec, modelFromHuggingFace } from "@millrace/sim";
import { z } from "zod";

/**
 * A path that a configuration file names: beside that file when it is there, else as seen from the working directory.
 * Without a file, from the working directory.
 */
export function pathBeside(configFile: string | null): (path: string) => string {
  return (path) => {
    if (configFile === null || isAbsolute(path)) return path;
    const beside = join(dirname(configFile), path);
    return existsSync(beside) || !existsSync(path) ? beside : path;
  };
}

/**
 * The model of a catalogue name, or of a Hugging Face config.json (or the folder that holds one). Throws MODEL_UNKNOWN,
 * FILE_UNREADABLE, CONFIG_SYNTAX, CONFIG_INVALID.
 */
export function openModel(ref: string, filePath: (path: string) => string): ModelSpec {
  const path = configPath(filePath(ref));
  if (path === null) return findModel(ref);
  const json = parseConfig(readTextFile(path), { file: path, schema: z.unknown(), format: "json" });
  return modelFromHuggingFace(json, path);
}

function configPath(path: string): string | null {
  if (!existsSync(path)) return path.endsWith(".json") ? path : null;
  if (!statSync(path).isDirectory()) return path;
  const inside = join(path, "config.json");
  return existsSync(inside) ? inside : null;
}
