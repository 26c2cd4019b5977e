/**
 * Shards that are compressed as a whole: unpacked once into a hidden folder beside them, since an item has to be a range
 * of bytes that can be read alone. What unpacks to far more than it holds is refused while it is unpacked.
 */
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Transform } from "node:stream";
import * as zlib from "node:zlib";
import { contentHash, MillraceError } from "@millrace/core";
import { AtomicFileStream, makeFolder, writeFileAtomic } from "@millrace/core/node";
import { Decompress } from "fzstd";
import { snappyUncompress } from "hyparquet";
import type { SourceFile } from "./extent-source.ts";

/** Brotli and snappy have no mark of their own and are known by an index alone (MDS). */
export type Compression = "gzip" | "zstd" | "brotli" | "snappy";

/** Bytes that a compressed shard of a size may unpack to: nothing that is worth training on shrinks to a hundredth. */
export function unpackedMost(bytes: number): number {
  return 100 * bytes + 2 ** 26;
}

/** How the name says that the file is compressed, or null. */
export function compressionOf(name: string): Compression | null {
  if (/\.(gz|tgz)$/.test(name)) return "gzip";
  return /\.(zst|zstd)$/.test(name) ? "zstd" : null;
}

interface Note {
  readonly schema: "millrace.unpacked/1";
  /** Hash of the compressed file's path, size and modification time. */
  readonly of: string;
  readonly bytes: number;
}

/**
 * The shard unpacked, from an earlier opening where it has not changed since. Throws MillraceError DATA_INVALID (damaged,
 * or a bomb) and FILE_UNREADABLE.
 */
export async function unpackShard(
  shard: SourceFile,
  compression: Compression,
  most = unpackedMost(shard.bytes),
): Promise<SourceFile> {
  const folder = join(dirname(shard.path), ".millrace-unpacked");
  const path = join(folder, basename(shard.path).replace(/\.(gz|zst|zstd|br|snappy)$|\.tgz$/, ""));
  const name = shard.name;
  const of = contentHash({ ...shard });
  const sidecar = `${path}.json`;
  const known = existsSync(sidecar) && existsSync(path) ? readNote(sidecar) : null;
  if (known?.of !== of || known.bytes !== statSync(path).size) {
    makeFolder(folder);
    const bytes = await unpack(shard, path, compression, most);
    writeFileAtomic(
      sidecar,
      JSON.stringify({ schema: "millrace.unpacked/1", of, bytes } satisfies Note),
    );
  }
  // Items are known by the shard as it was given: unpacking it anew changes none of them.
  return { path, name, bytes: statSync(path).size, mtimeMs: shard.mtimeMs };
}

function readNote(path: string): Note | null {
  try {
    const note = JSON.parse(readFileSync(path, "utf8")) as Note;
    return note.schema === "millrace.unpacked/1" ? note : null;
  } catch {
    return null;
  }
}

async function unpack(
  shard: SourceFile,
  to: string,
  compression: Compression,
  most: number,
): Promise<number> {
  const bad = (what: string, cause?: unknown): MillraceError =>
    new MillraceError("DATA_INVALID", `${shard.name}: ${what}`, {
      at: { file: shard.path },
      cause,
    });
  using out = new AtomicFileStream(to);
  let bytes = 0;
  const check = (size: number): void => {
    if (size > most)
      throw bad(`${shard.bytes} compressed bytes unpack to more than the limit of ${most}`);
  };
  const take = (part: Uint8Array): void => {
    bytes += part.length;
    check(bytes);
    out.write(part);
  };
  try {
    if (compression === "snappy") take(unsnappy(readFileSync(shard.path), check));
    else {
      const input = createReadStream(shard.path, { highWaterMark: 1 << 18 });
      if (compression === "zstd") await unzstd(input, take);
      else {
        const inflate =
          compression === "gzip" ? zlib.createGunzip() : zlib.createBrotliDecompress();
        for await (const part of input.pipe(forward(input, inflate))) take(part);
      }
    }
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw bad(`it cannot be unpacked: ${cause instanceof Error ? cause.message : cause}`, cause);
  }
  out.commit();
  return bytes;
}

/** A block of snappy, which begins with the length that comes out: `check` throws before so much is taken. */
function unsnappy(input: Uint8Array, check: (bytes: number) => void): Uint8Array {
  let bytes = 0;
  for (let i = 0, more = true; more; i++) {
    const byte = input[i];
    if (byte === undefined || i > 4) throw new Error("it is no block of snappy");
    bytes += (byte & 0x7f) * 2 ** (7 * i);
    more = byte >= 0x80;
  }
  check(bytes);
  const out = new Uint8Array(bytes);
  snappyUncompress(input, out);
  return out;
}

/** Errors of the file end the stream behind it. */
function forward<T extends Transform>(input: NodeJS.ReadableStream, stream: T): T {
  input.on("error", (error) => stream.destroy(error));
  return stream;
}

/** Node 22.15 and later have zstd; before, fzstd does it, at about a third of the speed. */
const native = (zlib as { createZstdDecompress?: () => Transform }).createZstdDecompress;

async function unzstd(
  input: ReturnType<typeof createReadStream>,
  take: (part: Uint8Array) => void,
): Promise<void> {
  if (native !== undefined) {
    for await (const part of input.pipe(forward(input, native()))) take(part);
    return;
  }
  let ended = false;
  const stream = new Decompress((part, final) => {
    take(part);
    if (final === true) ended = true;
  });
  for await (const part of input) stream.push(part as Uint8Array);
  stream.push(new Uint8Array(0), true);
  if (!ended) throw new Error("the stream ends early");
}

/** One zstd frame of a known size, e.g. a page of Parquet. Throws Error before more than `bytes` are taken. */
export function unzstdSync(input: Uint8Array, bytes: number): Uint8Array {
  const sync = (zlib as { zstdDecompressSync?: (b: Uint8Array, o: object) => Uint8Array })
    .zstdDecompressSync;
  if (sync !== undefined) return sync(input, { maxOutputLength: bytes + 1 });
  const out = new Uint8Array(bytes);
  let at = 0;
  const stream = new Decompress((part) => {
    if (at + part.length > bytes) throw new Error(`a page unpacks to more than ${bytes} bytes`);
    out.set(part, at);
    at += part.length;
  });
  stream.push(input, true);
  if (at !== bytes) throw new Error(`a page unpacks to ${at} bytes instead of ${bytes}`);
  return out;
}
