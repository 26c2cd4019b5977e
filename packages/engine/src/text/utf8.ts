/**
 * From tokens to text that may be shown: whole characters only, and nothing that may yet turn out to be part of a stop
 * text. Nothing here knows vocabularies beyond "these bytes belong to this token".
 */

/**
 * Decodes UTF-8 that comes in pieces. Bytes that form no character become U+FFFD as the WHATWG standard says, whatever
 * the split; a character that is not complete yet is held back.
 */
export class Utf8Stream {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** The characters that `bytes` completes. */
  push(bytes: Uint8Array): string {
    return this.decoder.decode(bytes, { stream: true });
  }
}
