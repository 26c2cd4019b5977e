/** MosaicML's MDS shards, read only: index.json, and per shard u32 count, count + 1 u32 offsets, then the samples. */
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { join, normalize, resolve } from "node:path";
import { MillraceError } from "@millrace/core";
import { z } from "zod";
import { type Compression, unpackedMost, unpackShard } from "./compressed.ts";
import { ExtentList, ExtentSource, type SourceFile } from "./extent-source.ts";

const shardSchema = z.object({
  format: z.literal("mds"),
  column_names: z.array(z.string()).min(1),
  column_encodings: z.array(z.string()).min(1),
  column_sizes: z.array(z.number().int().nonnegative().nullable()),
  samples: z.number().int().nonnegative(),
  compression: z.string().nullable().optional(),
  zip_data: z
    .object({ basename: z.string().min(1), bytes: z.number().int().nonnegative() })
    .nullable()
    .optional(),
  raw_data: z.object({ basename: z.string().min(1), bytes: z.number().int().nonnegative() }),
});
const indexSchema = z.object({ version: z.literal(2), shards: z.array(shardSchema).min(1) });

export interface MdsOptions {
  /** Column of the payload; default the first of bytes, jpeg, png or pil encoding. */
  readonly payload?: string;
  /** Column of the label; default the first of an integer encoding. */
  readonly label?: string;
}

/**
 * Opens a folder with an index.json. Shards compressed by zstd, gz, br or snappy are unpacked once, into a hidden folder;
 * those of bz2 are refused with the command that unpacks them.
 */
export async function openMds(path: string, options: MdsOptions = {}): Promise<ExtentSource> {
  const root = resolve(path);
  const indexPath = join(root, "index.json");
  const bad = (message: string, hint?: string): never => {
    throw new MillraceError("DATA_INVALID", `${indexPath}: ${message}`, {
      at: { file: indexPath },
      ...(hint !== undefined && { hint }),
    });
  };
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(indexPath, "utf8"));
  } catch (cause) {
    throw new MillraceError("DATA_INVALID", `${indexPath} is no index of MDS shards`, { cause });
  }
  const parsed = indexSchema.safeParse(json);
  if (!parsed.success) return bad(z.prettifyError(parsed.error));
  const { shards } = parsed.data;
  const [first] = shards;
  if (first === undefined) return bad("no shards");
  const columns = first.column_names.map((name, i) => ({
    name,
    encoding: first.column_encodings[i] ?? "",
    bytes: first.column_sizes[i] ?? null,
  }));
  const find = (name: string | undefined, encodings: RegExp): number =>
    columns.findIndex((column) =>
      name === undefined ? encodings.test(column.encoding) : column.name === name,
    );
  const payload = find(options.payload, /^(bytes|jpeg|png|pil|str|json)/);
  if (payload < 0)
    bad(
      `no column ${options.payload ?? "that holds a payload"} among ${columns.map((c) => c.name).join(", ")}`,
    );
  const label = find(options.label, /^u?int(8|16|32|64)?$/);
  const list = new ExtentList();
  for (const shard of shards) {
    const { basename: name, bytes } = shard.raw_data;
    for (const one of [name, shard.zip_data?.basename ?? name])
      if (normalize(one).startsWith("..") || one.startsWith("/"))
        bad(`the shard ${one} leaves the data set`);
    if (shard.column_names.join() !== first.column_names.join()) bad(`${name} has other columns`);
    const found =
      sourceFile(join(root, name), name) ??
      (await unpacked(shard, root, bytes)) ??
      bad(`the shard ${name} is not there`);
    if (found.bytes !== bytes) bad(`${name} has ${found.bytes} bytes, the index says ${bytes}`);
    list.files.push(found);
    addShard(found.path, name, shard.samples, list);
  }
  return new ExtentSource({
    kind: "mds",
    path: root,
    list,
    codec: {
      kind: "mds",
      columns: columns.map(({ encoding, bytes }) => ({ encoding, bytes })),
      payload,
      label: label < 0 ? null : label,
    },
  });
}

function sourceFile(path: string, name: string): SourceFile | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? null : { path, name, bytes: stat.size, mtimeMs: stat.mtimeMs };
}

/** The shard out of its compressed file, when that is there. */
async function unpacked(
  { zip_data: zip, compression }: z.infer<typeof shardSchema>,
  root: string,
  bytes: number,
): Promise<SourceFile | null> {
  const packed = zip ? sourceFile(join(root, zip.basename), zip.basename) : null;
  if (packed === null) return null;
  const [name] = (compression ?? "").split(":");
  const known: Readonly<Record<string, Compression>> = {
    zstd: "zstd",
    gz: "gzip",
    br: "brotli",
    snappy: "snappy",
  };
  const kind = known[name ?? ""];
  if (kind === undefined)
    throw new MillraceError("DATA_INVALID", `${packed.name} is compressed by ${compression}`, {
      at: { file: packed.path },
      hint:
        name === "bz2"
          ? `unpack the shards beside their index: bunzip2 --keep ${join(root, "*.bz2")}`
          : "unpack it beside its index, or write the data set with zstd, gz, br or snappy",
    });
  // The index says what comes out.
  return await unpackShard(packed, kind, Math.min(bytes, unpackedMost(packed.bytes)));
}

function addShard(file: string, name: string, samples: number, list: ExtentList): void {
  const head = 4 + 4 * (samples + 1);
  const bytes = readHead(file, head);
  if (bytes.length < head || bytes.readUInt32LE(0) !== samples)
    throw new MillraceError(
      "DATA_INVALID",
      `${name} does not begin with its ${samples} samples' places`,
      {
        at: { file },
      },
    );
  for (let i = 0; i < samples; i++) {
    const from = bytes.readUInt32LE(4 + 4 * i);
    list.add(from, bytes.readUInt32LE(8 + 4 * i) - from);
  }
}

/** The first bytes of a file, fewer where it ends. */
function readHead(file: string, bytes: number): Buffer {
  const fd = openSync(file, "r");
  try {
    const size = Math.min(bytes, fstatSync(fd).size);
    const head = Buffer.alloc(size);
    let at = 0;
    while (at < size) {
      const n = readSync(fd, head, at, size - at, at);
      if (n === 0) break;
      at += n;
    }
    return head.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}
