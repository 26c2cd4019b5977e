/** TFRecord shards: u64 length, masked CRC-32C of it, the record, masked CRC-32C of that; records are tf.Example. */
import { open } from "node:fs/promises";
import { MillraceError } from "@millrace/core";
import { crc32c, masked } from "./crc32c.ts";
import { ExtentList, ExtentSource, type SourceFile } from "./extent-source.ts";
import { shardFiles } from "./shards.ts";

export interface TfRecordOptions {
  /** Bytes feature of the payload, default image/encoded. */
  readonly payload?: string;
  /** Integer feature of the label, default image/class/label. */
  readonly label?: string;
}

/** Opens a shard or a folder of .tfrecord files. Lengths are checked by their checksum while indexing. */
export async function openTfRecords(
  path: string,
  options: TfRecordOptions = {},
): Promise<ExtentSource> {
  const { payload = "image/encoded", label = "image/class/label" } = options;
  const list = new ExtentList();
  for (const shard of shardFiles(path, [".tfrecord", ".tfrecords"])) {
    list.files.push(shard);
    await index(shard, list);
  }
  return new ExtentSource({
    kind: "tfrecord",
    path,
    list,
    codec: { kind: "tf-example", payload, label, checksum: true },
  });
}

async function index(shard: SourceFile, list: ExtentList): Promise<void> {
  const file = await open(shard.path, "r");
  const header = Buffer.alloc(12);
  try {
    for (let at = 0; at < shard.bytes; ) {
      const { bytesRead } = await file.read(header, 0, 12, at);
      const length = bytesRead === 12 ? Number(header.readBigUInt64LE(0)) : -1;
      const sound =
        bytesRead === 12 && masked(crc32c(header.subarray(0, 8))) === header.readUInt32LE(8);
      if (!sound || at + 16 + length > shard.bytes)
        throw new MillraceError("DATA_INVALID", `${shard.name}: no record begins at byte ${at}`, {
          at: { file: shard.path },
          hint: "the shard is cut off, compressed or no TFRecord file",
        });
      // The record with its checksum, which preparation holds it against.
      list.add(at + 12, length + 4);
      at += 16 + length;
    }
  } finally {
    await file.close();
  }
}
