/** Reads the files that predictors are built from. The only part of the predictors that touches a disk. */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { MillraceError } from "@millrace/core";
import { neededSource, type PredictorSource } from "../predictor/index.ts";
import type { ProfileFiles } from "../predictor/vidur-profiles/import.ts";
import type { TableFiles } from "../predictor/vidur-tables/tables.ts";
import type { PredictorConfig } from "../types.ts";

/** All files `PREFIX.*` of a folder, by name. Throws FILE_UNREADABLE. */
export async function readTableFiles(folder: string, prefix: string): Promise<TableFiles> {
  const names = (await list(folder)).filter((name) => name.startsWith(`${prefix}.`));
  const entries = names.map(
    async (name) => [name, new Uint8Array(await readFile(join(folder, name)))] as const,
  );
  return new Map(await Promise.all(entries));
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    throw new MillraceError("FILE_UNREADABLE", `${folder} cannot be read as a folder`, {
      hint: "predictor.path names the folder of the predictor's tables.",
      cause,
    });
  }
}

/** Names of the files of a folder of Vidur profiles. */
const profileNames = ["mlp.csv", "attention.csv", "all_reduce.csv", "send_recv.csv"] as const;
/** Levels above a model's folder that are searched for Vidur's `network` folder. */
const LEVELS_UP = 5;

/**
 * The profiles of a model's folder. Collectives that are not in it are taken from `network/DEVICE_*` above it, the
 * layout of Vidur's repository; a fully connected server (`_dgx`) is preferred. Throws FILE_UNREADABLE.
 */
export async function readProfileFiles(folder: string, device: string): Promise<ProfileFiles> {
  const files = new Map<string, string>();
  const here = new Set(await list(folder));
  const network = await networkFolder(folder, device);
  for (const name of profileNames) {
    if (here.has(name)) files.set(name, await readFile(join(folder, name), "utf8"));
    else if (network !== null && (await exists(network, name)))
      files.set(name, await readFile(join(network, name), "utf8"));
  }
  return files;
}

async function networkFolder(folder: string, device: string): Promise<string | null> {
  const family = device.split("-")[0] ?? device;
  let at = resolve(folder);
  for (let level = 0; level < LEVELS_UP; level++) {
    at = dirname(at);
    const names = await readdir(join(at, "network")).catch(() => [] as string[]);
    const fitting = names.filter((name) => name.startsWith(`${family}_`)).sort();
    const best = fitting.find((name) => name.endsWith("_dgx")) ?? fitting[0];
    if (best !== undefined) return join(at, "network", best);
  }
  return null;
}

async function exists(folder: string, name: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [] as string[])).includes(name);
}

/**
 * Reads what a predictor needs: the folder or file of `predictor.path`. Throws FILE_UNREADABLE, and PROFILE_INVALID
 * when a path is needed and there is none.
 */
export async function readPredictorSource(
  predictor: PredictorConfig,
  device: string,
): Promise<PredictorSource> {
  const kind = neededSource(predictor.type);
  if (kind === "none") return { kind };
  const { path, prefix } = predictor;
  if (path === null)
    throw new MillraceError("PROFILE_INVALID", `predictor ${predictor.type} has no path`, {
      hint: "Set predictor.path to the folder or file of the predictor, or use type roofline.",
    });
  if (kind === "tables") return { kind, files: await readTableFiles(path, prefix) };
  if (kind === "profiles") return { kind, files: await readProfileFiles(path, device) };
  try {
    return { kind, text: await readFile(path, "utf8") };
  } catch (cause) {
    throw new MillraceError("FILE_UNREADABLE", `${path} cannot be read`, {
      hint: "predictor.path names the profile that the engine wrote.",
      cause,
    });
  }
}
