/** One folder per class, as ImageNet is laid out: root/class/…/file. */
import { type Dirent, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { ExtentList, ExtentSource } from "./extent-source.ts";
import { unreadable } from "./unreadable.ts";

/** Extensions that are taken as samples by default. */
export const imageExtensions = [
  ".jpg",
  ".jpeg",
  ".png",
  ".webp",
  ".avif",
  ".gif",
  ".tif",
  ".tiff",
  ".bmp",
];

/**
 * Opens root/class/file, classes and files in the order of their names (byte order, so that every machine agrees). Files
 * of other extensions and hidden ones are left out; links to files are followed, links to folders are not. Throws
 * MillraceError FILE_UNREADABLE or DATA_INVALID.
 */
export function openFolder(
  path: string,
  extensions: readonly string[] = imageExtensions,
): ExtentSource {
  const root = resolve(path);
  const list = new ExtentList();
  const classes = entries(root)
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => entry.name);
  const wanted = new Set(extensions);
  const walk = (folder: string, label: number): void => {
    for (const entry of entries(join(root, folder))) {
      if (entry.name.startsWith(".")) continue;
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) walk(name, label);
      else if (wanted.has(extensionOf(entry.name))) {
        const full = join(root, name);
        const stat = statSync(full, { throwIfNoEntry: false });
        if (stat === undefined || !stat.isFile()) continue;
        list.files.push({ path: full, name, bytes: stat.size, mtimeMs: stat.mtimeMs });
        list.add(0, stat.size, label);
      }
    }
  };
  classes.forEach((name, label) => {
    walk(name, label);
  });
  return new ExtentSource({ kind: "folder", path: root, list, classes });
}

function entries(folder: string): Dirent[] {
  try {
    const found = readdirSync(folder, { withFileTypes: true });
    return found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  } catch (error) {
    throw unreadable(error, folder);
  }
}

function extensionOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot <= 0 ? "" : name.slice(dot).toLowerCase();
}
