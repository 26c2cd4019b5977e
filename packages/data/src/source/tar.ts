/**
 * WebDataset: samples as groups of members of tar shards that share a name up to the first dot. Shards are read by their
 * members' places, so that epochs are shuffled over all shards; the places are kept in a sidecar beside each shard.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { compressionOf, unpackShard } from "./compressed.ts";
import { ExtentList, ExtentSource } from "./extent-source.ts";
import { imageExtensions } from "./folder.ts";
import { shardFiles } from "./shards.ts";

/** Shards by their names. */
export const tarEndings = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd"] as const;

/** A member of a shard that is a file. */
export interface TarMember {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
  /** Content of small members that hold labels. */
  readonly text?: string;
}

interface Sidecar {
  readonly schema: "millrace.tar-index/1";
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly members: readonly TarMember[];
}

const block = 512;
const labelBytes = 64;
const longest = 1 << 16;

/** Files of a tar archive in order. Throws MillraceError DATA_INVALID for anything that is no tar or leaves the data set. */
export async function readTar(path: string): Promise<TarMember[]> {
  const members: TarMember[] = [];
  const size = statSync(path).size;
  let at = 0;
  let longName: string | null = null;
  const bad = (what: string): never => {
    throw new MillraceError("DATA_INVALID", `${path}: ${what} at byte ${at}`, {
      at: { file: path },
      hint: "a shard is a tar archive of regular files, as a whole compressed by gzip or zstd or not at all",
    });
  };
  const file = await openRange(path);
  try {
    while (at + block <= size) {
      const header = await file.read(at, block);
      if (header.every((byte) => byte === 0)) break;
      let sum = 256;
      for (let i = 0; i < block; i++) if (i < 148 || i >= 156) sum += header[i] as number;
      if (octal(header, 148, 8) !== sum) bad("no tar header");
      const bytes = octal(header, 124, 12);
      const type = String.fromCharCode(header[156] as number);
      const data = at + block;
      if (!(bytes >= 0) || data + bytes > size)
        bad(`a member of ${bytes} bytes in a shard of ${size}`);
      if (type === "L" || type === "x") {
        if (bytes > longest) bad(`a header of ${bytes} bytes`);
        const content = (await file.read(data, bytes)).toString("utf8");
        longName = type === "L" ? content.replace(/\0.*$/s, "") : (paxPath(content) ?? longName);
      } else if (type === "0" || type === "\0" || type === "7") {
        const name: string = longName ?? nameOf(header);
        longName = null;
        if (name.startsWith("/") || name.split("/").includes(".."))
          bad(`the member ${JSON.stringify(name)}, which leaves the data set,`);
        const small = /\.(cls|label|txt)$/.test(name) && bytes <= labelBytes;
        const text = small ? (await file.read(data, bytes)).toString("utf8") : undefined;
        members.push({ name, offset: data, bytes, ...(text !== undefined && { text }) });
      } else longName = null;
      at = data + Math.ceil(bytes / block) * block;
    }
  } finally {
    await file.close();
  }
  return members;
}

/**
 * Opens a shard or a folder of .tar shards (.gz and .zst are unpacked once, beside them): the payload of a sample is its image (or the member with `extension`), the
 * label its .cls. Writes sidecars where the folder allows it.
 */
export async function openWebDataset(path: string, extension?: string): Promise<ExtentSource> {
  const list = new ExtentList();
  const names: string[] = [];
  const payloads = extension === undefined ? imageExtensions : [extension];
  for (const given of shardFiles(path, tarEndings)) {
    const compression = compressionOf(given.name);
    const shard = compression === null ? given : await unpackShard(given, compression);
    const members = await indexed(shard.path);
    const labels = new Map<string, number>();
    for (const { name, text } of members)
      if (text !== undefined && name.endsWith(".cls") && /^\s*-?\d+\s*$/.test(text))
        labels.set(stem(name), Number(text));
    list.files.push(shard);
    for (const { name, offset, bytes } of members) {
      if (
        basename(name).startsWith(".") ||
        !payloads.some((end) => name.toLowerCase().endsWith(end))
      )
        continue;
      list.add(offset, bytes, labels.get(stem(name)) ?? -1);
      names.push(`${shard.name}!${name}`);
    }
  }
  return new ExtentSource({
    kind: "webdataset",
    path,
    list,
    name: (item) => names[item] as string,
  });
}

async function indexed(path: string): Promise<readonly TarMember[]> {
  const { size: bytes, mtimeMs } = statSync(path);
  const sidecar = `${path}.millrace.json`;
  if (existsSync(sidecar)) {
    try {
      const known = JSON.parse(readFileSync(sidecar, "utf8")) as Sidecar;
      if (
        known.schema === "millrace.tar-index/1" &&
        known.bytes === bytes &&
        known.mtimeMs === mtimeMs
      )
        return known.members;
    } catch {
      // A sidecar that is no JSON is made anew.
    }
  }
  const members = await readTar(path);
  const content: Sidecar = { schema: "millrace.tar-index/1", bytes, mtimeMs, members };
  try {
    writeFileAtomic(sidecar, JSON.stringify(content));
  } catch {
    // A read-only data set is indexed at every opening.
  }
  return members;
}

const stem = (name: string): string => {
  const slash = name.lastIndexOf("/") + 1;
  const dot = name.indexOf(".", slash);
  return dot < 0 ? name : name.slice(0, dot);
};

function octal(header: Buffer, at: number, length: number): number {
  // Numbers that octal digits cannot hold are binary, marked by the first bit.
  if ((header[at] as number) & 0x80) {
    let value = (header[at] as number) & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + (header[at + i] as number);
    return Number.isSafeInteger(value) ? value : -1;
  }
  const text = header
    .toString("latin1", at, at + length)
    .replace(/\0.*$/s, "")
    .trim();
  return /^[0-7]*$/.test(text) ? Number.parseInt(text || "0", 8) : -1;
}

function nameOf(header: Buffer): string {
  const text = (at: number, length: number): string =>
    header.toString("utf8", at, at + length).replace(/\0.*$/s, "");
  const prefix = header.toString("latin1", 257, 262) === "ustar" ? text(345, 155) : "";
  const name = text(0, 100);
  return (prefix === "" ? name : `${prefix}/${name}`).replace(/^\.\//, "");
}

function paxPath(records: string): string | null {
  return /(?:^|\n)\d+ path=([^\n]*)\n/.exec(records)?.[1]?.replace(/^\.\//, "") ?? null;
}

interface RangeFile {
  read(at: number, bytes: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** Small reads at growing places from chunks of 64 KiB. */
async function openRange(path: string): Promise<RangeFile> {
  const file = await open(path, "r");
  const chunk = Buffer.alloc(1 << 16);
  let from = 0;
  let filled = 0;
  return {
    async read(at, bytes) {
      if (at < from || at + bytes > from + filled) {
        from = at;
        filled = (await file.read(chunk, 0, chunk.length, at)).bytesRead;
        if (filled < bytes)
          throw new MillraceError("DATA_INVALID", `${path} ends at byte ${at + filled}`);
      }
      return Buffer.from(chunk.subarray(at - from, at - from + bytes));
    },
    close: () => file.close(),
  };
}
