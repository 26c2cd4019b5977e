/**
 * Parquet: rows of one column of bytes or text, and a label column. Values are compressed in pages, so they are taken out
 * once, into a record file beside a sidecar; from there on a row is a range of bytes as in every other form.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { contentHash, MillraceError } from "@millrace/core";
import { AtomicFileStream, makeFolder, writeFileAtomic } from "@millrace/core/node";
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { ExtentList, ExtentSource, type SourceFile } from "./extent-source.ts";
import { boundedCompressors } from "./parquet-pages.ts";
import { shardFiles } from "./shards.ts";

export interface ParquetOptions {
  /** Column of the payload: bytes, text, or a struct with a field bytes; default image, content, bytes or text. */
  readonly payload?: string;
  /** Integer column of the label; default label. */
  readonly label?: string;
  /** Folder for the record files; default a hidden one beside the data. */
  readonly records?: string;
  /** Bytes that one row group may unpack to; default 1 GiB. */
  readonly maxGroupBytes?: number;
}

const usual = ["image", "content", "bytes", "text"];

interface Records {
  readonly schema: "millrace.parquet-records/1";
  readonly of: string;
  readonly offsets: readonly number[];
  readonly labels: readonly number[];
}

/** Opens a .parquet file or a folder of them. Throws MillraceError DATA_INVALID (no such column, damaged, bomb). */
export async function openParquet(
  path: string,
  options: ParquetOptions = {},
): Promise<ExtentSource> {
  const list = new ExtentList();
  const names: string[] = [];
  for (const shard of shardFiles(path, [".parquet"])) {
    const records = await unpacked(shard, options);
    const file = records.path;
    list.files.push({ ...shard, path: file, bytes: statSync(file).size });
    for (let i = 0; i + 1 < records.offsets.length; i++) {
      const from = records.offsets[i] as number;
      list.add(from, (records.offsets[i + 1] as number) - from, records.labels[i] ?? -1);
      names.push(`${shard.name} (row ${i})`);
    }
  }
  return new ExtentSource({
    kind: "parquet",
    path: resolve(path),
    list,
    name: (i) => names[i] as string,
  });
}

async function unpacked(
  shard: SourceFile,
  options: ParquetOptions,
): Promise<{ path: string; offsets: readonly number[]; labels: readonly number[] }> {
  const folder = options.records ?? join(dirname(shard.path), ".millrace-records");
  makeFolder(folder);
  const of = contentHash({ ...shard, payload: options.payload, label: options.label });
  const path = join(folder, `${basename(shard.path)}.records`);
  const sidecar = `${path}.json`;
  if (existsSync(sidecar) && existsSync(path)) {
    const known = JSON.parse(readFileSync(sidecar, "utf8")) as Records;
    if (known.schema === "millrace.parquet-records/1" && known.of === of) return { path, ...known };
  }
  const { offsets, labels } = await unpack(shard, path, options);
  writeFileAtomic(
    sidecar,
    JSON.stringify({ schema: "millrace.parquet-records/1", of, offsets, labels } satisfies Records),
  );
  return { path, offsets, labels };
}

async function unpack(
  shard: SourceFile,
  to: string,
  options: ParquetOptions,
): Promise<{ offsets: number[]; labels: number[] }> {
  const { maxGroupBytes = 2 ** 30 } = options;
  const bad = (message: string, cause?: unknown): MillraceError =>
    new MillraceError("DATA_INVALID", `${shard.name}: ${message}`, {
      at: { file: shard.path },
      cause,
    });
  const fd = openSync(shard.path, "r");
  const file: AsyncBuffer = {
    byteLength: shard.bytes,
    slice(start, end = shard.bytes) {
      const bytes = Buffer.alloc(end - start);
      readSync(fd, bytes, 0, bytes.length, start);
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
    },
  };
  try {
    const metadata = await parquetMetadataAsync(file).catch((cause: unknown) => {
      throw bad("this is no Parquet file, or its end is missing", cause);
    });
    const columns = new Set(
      metadata.row_groups[0]?.columns.map((c) => c.meta_data?.path_in_schema[0] ?? ""),
    );
    const payload = options.payload ?? usual.find((name) => columns.has(name));
    if (payload === undefined || !columns.has(payload))
      throw bad(`no column ${payload ?? usual.join(", ")}; there are ${[...columns].join(", ")}`);
    const label = options.label ?? "label";
    if (options.label !== undefined && !columns.has(label)) throw bad(`no column ${label}`);
    const wanted = columns.has(label) ? [payload, label] : [payload];
    using out = new AtomicFileStream(to);
    const offsets = [0];
    const labels: number[] = [];
    let row = 0;
    for (const group of metadata.row_groups) {
      const bytes = Number(group.total_byte_size);
      if (!(bytes <= maxGroupBytes))
        throw bad(
          `row group at row ${row} unpacks to ${bytes} bytes, more than the limit of ${maxGroupBytes}`,
        );
      const end = row + Number(group.num_rows);
      const rows = await parquetReadObjects({
        file,
        metadata,
        columns: wanted,
        rowStart: row,
        rowEnd: end,
        utf8: false,
        compressors: boundedCompressors(maxGroupBytes),
      }).catch((cause: unknown) => {
        throw bad(
          `the row group at row ${row} is damaged: ${cause instanceof Error ? cause.message : cause}`,
          cause,
        );
      });
      rows.forEach((record, i) => {
        const content = payloadOf(record[payload]);
        if (content === null) throw bad(`row ${row + i} has no bytes in ${payload}`);
        out.write(content);
        offsets.push((offsets.at(-1) as number) + content.length);
        const value = Number(record[label] ?? -1);
        labels.push(Number.isInteger(value) ? value : -1);
      });
      row = end;
    }
    out.commit();
    return { offsets, labels };
  } finally {
    closeSync(fd);
  }
}

function payloadOf(value: unknown): Uint8Array | null {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return Buffer.from(value, "utf8");
  // Images of Hugging Face data sets: a struct of bytes and path.
  if (typeof value === "object" && value !== null && "bytes" in value)
    return payloadOf(value.bytes);
  return null;
}
