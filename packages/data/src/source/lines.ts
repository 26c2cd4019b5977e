/** Where the lines of a file lie. */
import { createReadStream } from "node:fs";

/** Calls `found` for every line that is not blank: its place without the line break, and its first byte. */
export async function lineExtents(
  path: string,
  found: (offset: number, bytes: number, first: number) => void,
): Promise<void> {
  let start = 0;
  let at = 0;
  let first = -1;
  let last = 0;
  const end = (): void => {
    if (first >= 0) found(start, last - start, first);
    first = -1;
  };
  for await (const chunk of createReadStream(path, {
    highWaterMark: 1 << 20,
  }) as AsyncIterable<Buffer>) {
    for (let i = 0; i < chunk.length; ) {
      if (first < 0) {
        // Leading blanks are no part of the line.
        const byte = chunk[i] as number;
        if (byte > 32) {
          first = byte;
          start = at + i;
          last = start;
        } else {
          i++;
          continue;
        }
      }
      const feed = chunk.indexOf(10, i);
      const stop = feed < 0 ? chunk.length : feed;
      for (let j = stop - 1; j >= i; j--)
        if ((chunk[j] as number) > 32) {
          last = at + j + 1;
          break;
        }
      if (feed >= 0) end();
      i = stop + (feed >= 0 ? 1 : 0);
    }
    at += chunk.length;
  }
  end();
}
