/**
 * The staging ring: prepared batches in one shared memory file that consumers map (Node and Python alike). Its layout,
 * little endian:
 *
 *     0      header of 4096 bytes: magic "MLRRING2", then u32 version, slots, batch size, and u64 slot bytes
 *     4096   one header of 64 bytes per slot, u32 words:
 *            [state 0 free 1 leased 2 ready, generation, sequence low, sequence high, samples, mask low, mask high, pid]
 *     …      16 KiB of deliveries (mailbox.ts), from the next page on
 *     …      slots, each whole pages: the samples' data, then i32 labels, then i32 item numbers
 *
 * A slot's mask has one bit per job that has not used the batch yet. The service alone writes headers; a producer writes
 * the content of a slot that is leased to it. Consumers check state, generation and sequence against what they were told.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import {
  createShared,
  FileLock,
  type MappedRegion,
  mapShared,
  privateFolder,
  sharedFolder,
} from "@millrace/system";
import type { Area } from "../batch/area.ts";
import { type SampleSpec, sampleBytes } from "../batch/batch.ts";
import { mailBytes } from "./mailbox.ts";

export interface RingLayout {
  readonly slots: number;
  readonly batchSize: number;
  readonly spec: SampleSpec;
  readonly slotBytes: number;
  /** Of labels and items inside a slot. */
  readonly labelsAt: number;
  readonly itemsAt: number;
  /** Of the deliveries in the file. */
  readonly mailAt: number;
  /** Of slot 0 in the file. */
  readonly firstAt: number;
  readonly fileBytes: number;
}

const magic = "MLRRING2";
const slotHeadersAt = 4096;
const slotHeaderBytes = 64;
const version = 2;
const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

/** The layout of a ring of so many slots. */
export function ringLayout(spec: SampleSpec, batchSize: number, slots: number): RingLayout {
  const labelsAt = aligned(batchSize * sampleBytes(spec), 64);
  const itemsAt = labelsAt + aligned(4 * batchSize, 64);
  const slotBytes = aligned(itemsAt + 4 * batchSize, 4096);
  const mailAt = slotHeadersAt + aligned(slots * slotHeaderBytes, 4096);
  const firstAt = mailAt + mailBytes;
  const fileBytes = firstAt + slots * slotBytes;
  return { slots, batchSize, spec, slotBytes, labelsAt, itemsAt, mailAt, firstAt, fileBytes };
}

/** The most slots that fit into so many bytes. Throws MillraceError CONFIG_INVALID below two. */
export function slotsWithin(spec: SampleSpec, batchSize: number, bytes: number): number {
  const one = ringLayout(spec, batchSize, 1);
  const slots = Math.floor((bytes - one.firstAt) / (one.slotBytes + slotHeaderBytes));
  if (slots < 2)
    throw new MillraceError(
      "CONFIG_INVALID",
      `a staging ring of ${bytes} bytes holds less than two batches of ${one.slotBytes} bytes`,
      {
        hint: `give at least ${ringLayout(spec, batchSize, 2).fileBytes} bytes, or smaller batches`,
      },
    );
  return slots;
}

/** What a slot's header says. */
export interface SlotHeader {
  readonly state: "free" | "leased" | "ready";
  readonly generation: number;
  readonly sequence: number;
  readonly samples: number;
  readonly jobs: Iterable<number>;
  readonly pid: number;
}

const states = ["free", "leased", "ready"] as const;

/** A mapped ring. */
export class Ring implements Disposable {
  readonly layout: RingLayout;
  readonly path: string;
  private readonly region: MappedRegion;
  private readonly words: Uint32Array;

  constructor(path: string, layout: RingLayout) {
    this.path = path;
    this.layout = layout;
    this.region = mapShared(path, layout.fileBytes);
    this.words = new Uint32Array(this.region.buffer);
  }

  /** The ring as an area that preparation threads map. */
  get area(): Area {
    return { kind: "file", path: this.path, bytes: this.layout.fileBytes };
  }

  get buffer(): ArrayBuffer {
    return this.region.buffer;
  }

  slotAt(slot: number): number {
    return this.layout.firstAt + slot * this.layout.slotBytes;
  }

  labels(slot: number, samples: number): Int32Array {
    return new Int32Array(this.region.buffer, this.slotAt(slot) + this.layout.labelsAt, samples);
  }

  items(slot: number, samples: number): Int32Array {
    return new Int32Array(this.region.buffer, this.slotAt(slot) + this.layout.itemsAt, samples);
  }

  writeFileHeader(): void {
    Buffer.from(this.region.buffer).write(magic, 0, "latin1");
    this.words.set([version, this.layout.slots, this.layout.batchSize, 0], 2);
    this.words.set([this.layout.slotBytes >>> 0, Math.floor(this.layout.slotBytes / 2 ** 32)], 6);
  }

  writeHeader(slot: number, header: SlotHeader): void {
    let low = 0;
    let high = 0;
    for (const job of header.jobs) {
      if (job < 32) low |= 1 << job;
      else high |= 1 << (job - 32);
    }
    const { generation, sequence, samples, pid } = header;
    const at = (slotHeadersAt + slot * slotHeaderBytes) / 4;
    this.words.set(
      [generation, sequence >>> 0, Math.floor(sequence / 2 ** 32), samples, low, high, pid],
      at + 1,
    );
    // The state last: what it announces is there.
    Atomics.store(this.words, at, states.indexOf(header.state));
  }

  /** Whether the slot holds this batch, prepared. */
  holds(slot: number, generation: number, sequence: number): boolean {
    const at = (slotHeadersAt + slot * slotHeaderBytes) / 4;
    return (
      Atomics.load(this.words, at) === 2 &&
      this.words[at + 1] === generation &&
      this.words[at + 2] === sequence >>> 0
    );
  }

  [Symbol.dispose](): void {
    this.region[Symbol.dispose]();
  }
}

/** A ring's folder; its lock is held as long as its service lives. */
export class RingFolder implements Disposable {
  readonly path: string;
  readonly ringPath: string;
  private readonly lock: FileLock;
  private open = true;

  /**
   * Removes what services left that are no more, then makes the folder. Throws MillraceError DATA_SERVICE_FAILED when a
   * service of that name is running.
   */
  constructor(name: string, base = sharedFolder()) {
    cleanRings(base);
    this.path = privateFolder(join(base, `${prefix}${name}`));
    this.lock = new FileLock(join(this.path, "lock"));
    this.ringPath = join(this.path, "ring");
    if (!this.lock.try("exclusive")) {
      this.lock[Symbol.dispose]();
      throw new MillraceError("DATA_SERVICE_FAILED", `a service named ${name} is running already`, {
        hint: "join it, stop it, or choose another --socket",
      });
    }
  }

  /** Makes the ring's file with all its memory. Throws MillraceError SHARED_MEMORY_FULL. */
  create(layout: RingLayout): Ring {
    rmSync(this.ringPath, { force: true });
    createShared(this.ringPath, layout.fileBytes);
    const ring = new Ring(this.ringPath, layout);
    ring.writeFileHeader();
    return ring;
  }

  [Symbol.dispose](): void {
    if (!this.open) return;
    this.open = false;
    rmSync(this.path, { recursive: true, force: true });
    this.lock[Symbol.dispose]();
  }
}

const prefix = "ring-";

/** Removes the rings of services that ended without doing so; returns their folders. */
export function cleanRings(base = sharedFolder()): string[] {
  return rings(base)
    .filter(({ path, live }) => {
      if (!live) rmSync(path, { recursive: true, force: true });
      return !live;
    })
    .map(({ path }) => path);
}

/** Rings of this user, and whether their service lives. */
export function rings(base = sharedFolder()): { readonly path: string; readonly live: boolean }[] {
  const names = readdirSync(base).filter((name) => name.startsWith(prefix));
  return names.map((name) => {
    const path = join(base, name);
    try {
      using lock = new FileLock(join(path, "lock"));
      return { path, live: !lock.try("exclusive") };
    } catch {
      // Another process is removing it.
      return { path, live: false };
    }
  });
}
