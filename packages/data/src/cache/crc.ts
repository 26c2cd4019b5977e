/** CRC-32 by zlib, which Node has since 20.15 and its type library does not yet know. */
import * as zlib from "node:zlib";

/** CRC-32 of the bytes, unsigned; continues from `value`. About 1 GB/s or more. */
export const zlibCrc32 = (
  zlib as unknown as { readonly crc32: (bytes: Uint8Array, value?: number) => number }
).crc32;
