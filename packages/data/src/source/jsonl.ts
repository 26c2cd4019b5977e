/** One JSON object a line: an item is a line; the transform gets it as it is, the label is one of its fields. */
import { MillraceError } from "@millrace/core";
import { ExtentList, ExtentSource } from "./extent-source.ts";
import { lineExtents } from "./lines.ts";
import { shardFiles } from "./shards.ts";

/** Opens a .jsonl file or a folder of them. Lines of blanks are no items; what a line holds is looked at when it is used. */
export async function openJsonl(path: string, label?: string): Promise<ExtentSource> {
  const list = new ExtentList();
  for (const shard of shardFiles(path, [".jsonl", ".ndjson"])) {
    list.files.push(shard);
    await lineExtents(shard.path, (offset, bytes, first) => {
      if (first !== 0x7b)
        throw new MillraceError(
          "DATA_INVALID",
          `${shard.name}: the line at byte ${offset} is no JSON object`,
          {
            at: { file: shard.path },
            hint: "JSONL has one {…} per line",
          },
        );
      list.add(offset, bytes);
    });
  }
  return new ExtentSource({
    kind: "jsonl",
    path,
    list,
    codec: { kind: "json", ...(label !== undefined && { label }) },
  });
}
