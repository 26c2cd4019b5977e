/** Size of a JPEG from its frame header, before any memory is taken for its pixels. */

export interface JpegHeader {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 colour, 4 CMYK. */
  readonly components: number;
}

/** Null when the bytes are no JPEG or end before its frame header. */
export function jpegHeader(bytes: Uint8Array): JpegHeader | null {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  const word = (i: number): number => ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  for (let i = 2; i + 9 < bytes.length; ) {
    if (bytes[i] !== 0xff) {
      i++;
      continue;
    }
    const marker = bytes[i + 1] as number;
    // Fill bytes and markers without a segment.
    if (marker === 0xff || marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) {
      i += marker === 0xff ? 1 : 2;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) return null;
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame)
      return {
        height: word(i + 5),
        width: word(i + 7),
        components: bytes[i + 9] as number,
      };
    i += 2 + word(i + 2);
  }
  return null;
}
