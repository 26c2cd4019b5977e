/** Decompressors of Parquet pages that stop at a limit: a page's header may claim any size, and gzip expands a thousandfold. */
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { type Compressors, snappyUncompress } from "hyparquet";
import { unzstdSync } from "./compressed.ts";

/** Decompressors that throw Error before taking more than `most` bytes for a page. */
export function boundedCompressors(most: number): Compressors {
  const checked =
    (decompress: (input: Uint8Array, bytes: number) => Uint8Array) =>
    (input: Uint8Array, bytes: number): Uint8Array => {
      if (!(bytes >= 0 && bytes <= most))
        throw new Error(`a page unpacks to ${bytes} bytes, more than the limit of ${most}`);
      return decompress(input, bytes);
    };
  return {
    SNAPPY: checked((input, bytes) => {
      const page = new Uint8Array(bytes);
      snappyUncompress(input, page);
      return page;
    }),
    // One byte more than announced is enough to see that a page lies.
    GZIP: checked((input, bytes) => gunzipSync(input, { maxOutputLength: bytes + 1 })),
    ZSTD: checked(unzstdSync),
    BROTLI: checked((input, bytes) => brotliDecompressSync(input, { maxOutputLength: bytes + 1 })),
  };
}
