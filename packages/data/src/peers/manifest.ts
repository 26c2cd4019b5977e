/** Checksums of a data set's items in a file: what comes from other servers' memory is held against them. */
import { MillraceError } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { z } from "zod";
import { zlibCrc32 } from "../cache/crc.ts";
import { Arena } from "../fetch/arena.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import type { Source } from "../source/source.ts";

const manifestSchema = z.strictObject({
  schema: z.literal("millrace.data-manifest/1"),
  /** Source.identity: a data set that changed needs a new manifest. */
  identity: z.string(),
  items: z.int().positive(),
  /** CRC-32 per item, 32-bit little endian, base64. */
  crc32: z.base64(),
});

/** Reads every item once. O(bytes of the data set). */
export async function digestItems(
  source: Source,
  reader: StorageReader,
  options: { readonly signal?: AbortSignal; readonly progress?: (done: number) => void } = {},
): Promise<Uint32Array> {
  const digests = new Uint32Array(source.length);
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    let arena = new Arena(1 << 20);
    for (let item = next++; item < source.length; item = next++) {
      const extent = source.extent(item);
      const room = reader.room(extent);
      if (arena.bytes < room) arena = new Arena(room);
      const into = arena.view(0, arena.bytes);
      const request = { item, key: source.key(item), extent };
      const { start } = await reader.read(request, into, options.signal);
      digests[item] = zlibCrc32(into.subarray(start, start + extent.bytes));
      options.progress?.(++done);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  return digests;
}

/** Writes `millrace.data-manifest/1`. */
export function writeManifest(path: string, source: Source, digests: Uint32Array): void {
  const bytes = new DataView(new ArrayBuffer(4 * digests.length));
  digests.forEach((crc, i) => {
    bytes.setUint32(4 * i, crc, true);
  });
  const file: z.infer<typeof manifestSchema> = {
    schema: "millrace.data-manifest/1",
    identity: source.identity,
    items: source.length,
    crc32: Buffer.from(bytes.buffer).toString("base64"),
  };
  writeFileAtomic(path, `${JSON.stringify(file)}\n`);
}

/** Reads the manifest of this very data set. Throws MillraceError FILE_UNREADABLE, CONFIG_INVALID or DATA_INVALID. */
export function readManifest(path: string, source: Source): Uint32Array {
  const file = parseConfig(readTextFile(path), {
    file: path,
    schema: manifestSchema,
    format: "json",
  });
  const bytes = Buffer.from(file.crc32, "base64");
  if (file.identity !== source.identity || bytes.length !== 4 * source.length)
    throw new MillraceError("DATA_INVALID", `${path} is the manifest of another data set`, {
      at: { file: path },
      hint: "files changed since it was made, or it belongs elsewhere: make it again",
    });
  return Uint32Array.from({ length: source.length }, (_, i) => bytes.readUInt32LE(4 * i));
}
