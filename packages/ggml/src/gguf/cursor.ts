/** Reads the fields of a header one after the other, little-endian; nothing is read or allocated beyond the end. */
import { invalidGguf } from "./invalid.ts";

const decoder = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true });

/** A position in the bytes of a file's beginning. */
export class Cursor {
  readonly path: string;
  readonly data: DataView;
  offset = 0;

  constructor(path: string, data: DataView) {
    this.path = path;
    this.data = data;
  }

  get left(): number {
    return this.data.byteLength - this.offset;
  }

  /** Moves over `bytes` and returns where they begin; throws GGUF_INVALID when the file ends before. */
  take(bytes: number, what: string): number {
    if (bytes > this.left)
      throw invalidGguf(
        this.path,
        this.offset,
        `${what} needs ${bytes} bytes, but the file has only ${this.left} more`,
      );
    const at = this.offset;
    this.offset += bytes;
    return at;
  }

  u32(what: string): number {
    return this.data.getUint32(this.take(4, what), true);
  }

  /** A 64-bit count or size as a number; values no file can mean are refused. */
  u64(what: string): number {
    const at = this.take(8, what);
    const high = this.data.getUint32(at + 4, true);
    if (high > 0x1fffff) {
      const value = this.data.getBigUint64(at, true);
      throw invalidGguf(this.path, at, `${what} is ${value}, which cannot be`);
    }
    return high * 2 ** 32 + this.data.getUint32(at, true);
  }

  /** A count of things that take at least `least` bytes each in the rest of the file. */
  count(least: number, what: string): number {
    const at = this.offset;
    const value = this.u64(what);
    if (value * least > this.left)
      throw invalidGguf(
        this.path,
        at,
        `${what} is ${value}, more than the remaining ${this.left} bytes can hold`,
      );
    return value;
  }

  /** A length-prefixed string that must be UTF-8. */
  string(what: string): string {
    const at = this.offset;
    const bytes = this.bytes(what);
    try {
      return strict.decode(bytes);
    } catch {
      throw invalidGguf(this.path, at, `${what} is not UTF-8`);
    }
  }

  /** A length-prefixed string; bytes that are not UTF-8 become U+FFFD. */
  looseString(what: string): string {
    return decoder.decode(this.bytes(what));
  }

  private bytes(what: string): Uint8Array {
    const length = this.count(1, `length of ${what}`);
    const at = this.take(length, what);
    return new Uint8Array(this.data.buffer, this.data.byteOffset + at, length);
  }

  /** Moves over a length-prefixed string without reading it. */
  skipString(what: string): void {
    this.take(this.count(1, `length of ${what}`), what);
  }
}
