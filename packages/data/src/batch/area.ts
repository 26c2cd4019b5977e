/** Memory that several threads or processes see: how it is named to them, and how each gets at it. */
import { type MappedRegion, mapShared } from "@millrace/system";

/** Plain data that may be posted to a worker. */
export type Area =
  | { readonly kind: "buffer"; readonly buffer: SharedArrayBuffer }
  | { readonly kind: "file"; readonly path: string; readonly bytes: number };

/** The bytes of areas on this thread; files are mapped when first asked for. */
export class AreaViews implements Disposable {
  private readonly mapped = new Map<string, MappedRegion>();

  /** Bytes of the area from `offset`. Throws MillraceError when a file cannot be mapped. */
  bytes(area: Area, offset: number, bytes: number): Uint8Array {
    if (area.kind === "buffer") return new Uint8Array(area.buffer, offset, bytes);
    return new Uint8Array(this.region(area).buffer, offset, bytes);
  }

  private region(area: Area & { readonly kind: "file" }): MappedRegion {
    const known = this.mapped.get(area.path);
    if (known !== undefined && known.buffer.byteLength >= area.bytes) return known;
    // The file has grown since.
    known?.[Symbol.dispose]();
    const region = mapShared(area.path, area.bytes);
    this.mapped.set(area.path, region);
    return region;
  }

  [Symbol.dispose](): void {
    for (const region of this.mapped.values()) region[Symbol.dispose]();
    this.mapped.clear();
  }
}
