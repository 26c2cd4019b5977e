/** What caches lie in shared memory, for people: read without becoming a user of them. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { FileLock, mapShared, sharedFolder } from "@millrace/system";
import { IndexTable } from "./index-table.ts";

/** One cache. */
export interface CacheOverview {
  readonly path: string;
  /** Path of the data set; null when the cache does not say. */
  readonly of: string | null;
  /** A job has it open. */
  readonly live: boolean;
  readonly items: number;
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

/** The caches under a folder, by default this user's. */
export function cacheOverviews(folder = join(sharedFolder(), "cache")): CacheOverview[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((name) => overview(join(folder, name)) ?? []);
}

function overview(path: string): CacheOverview | null {
  const index = join(path, "index");
  if (!existsSync(index)) return null;
  using region = mapShared(index, statSync(index).size);
  const { items, usedBytes, capacity } = new IndexTable(region.buffer);
  return { path, of: dataset(path), live: inUse(path), items, usedBytes, capacityBytes: capacity };
}

function dataset(path: string): string | null {
  try {
    const about: unknown = JSON.parse(readFileSync(join(path, "about.json"), "utf8"));
    return (about as { readonly path: string }).path;
  } catch {
    return null;
  }
}

function inUse(path: string): boolean {
  using lock = new FileLock(join(path, "lock"));
  return !lock.try("exclusive");
}

/** Removes a cache that no job uses; false when one does. */
export function removeCache({ path }: CacheOverview): boolean {
  using lock = new FileLock(join(path, "lock"));
  if (!lock.try("exclusive")) return false;
  rmSync(path, { recursive: true });
  return true;
}
