/**
 * Data sets as lists of items, each a range of bytes in a file. A source knows where bytes lie and what they are called;
 * it never reads items itself: fetching, caching and decoding are other rooms, so that each works for every format.
 */

/** Where the bytes of something lie. */
export interface Extent {
  /** Absolute path of the file. */
  readonly path: string;
  readonly offset: number;
  /** At least 0. */
  readonly bytes: number;
  /** The item is the whole file, so that a reader need not keep the file open for others. */
  readonly whole?: boolean;
}

/** How an item's bytes are taken apart before a transform sees them; plain data, since it crosses to workers. */
export type RecordCodec =
  /** The bytes are the payload; the label is what `label` says. */
  | { readonly kind: "raw" }
  /** A line of JSON; the payload stays the line, the label is the field of that name, when given. */
  | { readonly kind: "json"; readonly label?: string }
  /** tf.Example: a bytes feature, and an int64 feature as label. */
  | {
      readonly kind: "tf-example";
      /** Four bytes behind the record are its masked CRC-32C. */
      readonly checksum?: boolean;
      readonly payload: string;
      readonly label?: string;
    }
  /** A sample of MosaicML's MDS: columns in order, fixed ones first known by size. */
  | {
      readonly kind: "mds";
      readonly columns: readonly { readonly encoding: string; readonly bytes: number | null }[];
      readonly payload: number;
      readonly label: number | null;
    };

/** Formats that `openSource` knows. */
export type SourceKind =
  | "folder"
  | "webdataset"
  | "jsonl"
  | "tokens"
  | "text"
  | "parquet"
  | "tfrecord"
  | "mds";

/** A data set. Immutable after opening; all methods are O(1) and touch no file. */
export interface Source {
  readonly kind: SourceKind;
  /** Absolute path that the data set was opened by. */
  readonly path: string;
  /** Items, at least 1. */
  readonly length: number;
  /** Bytes of all items. */
  readonly totalBytes: number;
  /** Names of the classes, by label; empty where labels are numbers without names. */
  readonly classes: readonly string[];
  readonly codec: RecordCodec;
  /** Where item i lies. Throws InvariantError outside 0 … length - 1, as the other methods do. */
  extent(item: number): Extent;
  /** Class of the item; -1 when there is none or only the codec can tell. */
  label(item: number): number;
  /** Name for messages: a path or member, relative to the data set. */
  name(item: number): string;
  /**
   * Content key of the item, 64 bits as two words: equal as long as path, size and modification time of its file, and
   * its place in the file, are equal. What caches know an item by.
   */
  key(item: number): readonly [number, number];
  /** Hash of all keys, 32 hex digits: equal data sets have equal identities in every process. */
  readonly identity: string;
}
