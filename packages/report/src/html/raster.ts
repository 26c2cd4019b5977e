/**
 * The stall raster: every token of every request as a mark in time, late ones in the colour of what went wrong. Packed
 * into a few bytes a chunk, so that a page of a million tokens stays small; drawn on a canvas by the page's script.
 */

/** One line of a raster. Whole microseconds. */
export interface RasterRow {
  readonly name: string;
  /** When the request was due. */
  readonly startUs: number;
  /** Arrivals of chunks after `startUs`, ascending, and tokens of each. */
  readonly chunkUs: ArrayLike<number>;
  readonly tokens: ArrayLike<number>;
  /** Deadline of the first token after `startUs`. */
  readonly ttftUs: number;
  /** It did not finish. */
  readonly failed: boolean;
}

export interface Raster {
  readonly rows: readonly RasterRow[];
  /** Deadline between tokens. */
  readonly tbtUs: number;
}

/** Times are kept to this many µs: a tenth of a millisecond is a hundredth of a pixel. */
const STEP_US = 100;

/** Growing bytes with unsigned LEB128 numbers. */
class Packer {
  private bytes = new Uint8Array(1 << 16);
  private length = 0;

  number(value: number): void {
    if (this.length + 8 > this.bytes.length) {
      const grown = new Uint8Array(this.bytes.length * 2);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    let rest = Math.max(0, Math.round(value));
    while (rest >= 128) {
      this.bytes[this.length++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  base64(): string {
    let text = "";
    // In pieces: a call cannot take a million arguments.
    for (let at = 0; at < this.length; at += 0x8000)
      text += String.fromCharCode(...this.bytes.subarray(at, Math.min(this.length, at + 0x8000)));
    return btoa(text);
  }
}

/**
 * Packs a raster. Layout, all unsigned LEB128 in steps of 100 µs: number of rows, TBT deadline; per row: start, TTFT
 * deadline, 1 when failed, number of chunks; per chunk: twice the gap, plus 1 when it has other than one token, then its
 * tokens follow.
 */
export function packRaster({ rows, tbtUs }: Raster): string {
  const out = new Packer();
  out.number(rows.length);
  out.number(tbtUs / STEP_US);
  for (const { startUs, chunkUs, tokens, ttftUs, failed } of rows) {
    const start = Math.round(startUs / STEP_US);
    out.number(start);
    out.number(ttftUs / STEP_US);
    out.number(failed ? 1 : 0);
    out.number(chunkUs.length);
    let before = 0;
    for (let i = 0; i < chunkUs.length; i++) {
      const at = Math.round((chunkUs[i] as number) / STEP_US);
      const count = tokens[i] as number;
      out.number(2 * (at - before) + (count === 1 ? 0 : 1));
      if (count !== 1) out.number(count);
      before = at;
    }
  }
  return out.base64();
}
