import { InvariantError, MillraceError } from "@millrace/core";
import { describe, expect, it } from "vitest";
import { pageBytes } from "../libc.ts";
import { mappingCount, residentMemory } from "../limits/resident.ts";
import { MemoryFile } from "./memory-file.ts";
import { Reservation } from "./reservation.ts";

const MiB = 1 << 20;

describe("Reservation", () => {
  it("takes no memory until pages are populated, and gives it back", () => {
    const before = residentMemory().anonymousBytes;
    using range = new Reservation(2 ** 40);
    expect(residentMemory().anonymousBytes - before).toBeLessThan(4 * MiB);
    range.mapAnonymous(64 * MiB, 32 * MiB);
    range.populate(64 * MiB, 32 * MiB);
    expect(residentMemory().anonymousBytes - before).toBeGreaterThan(31 * MiB);
    range.discard(64 * MiB, 32 * MiB);
    expect(residentMemory().anonymousBytes - before).toBeLessThan(8 * MiB);
  });

  it("keeps what was written until pages are discarded", () => {
    const page = pageBytes();
    using range = new Reservation(4 * page, "read-write");
    const bytes = new Uint8Array(range.view(0, 4 * page));
    bytes[page] = 7;
    bytes[2 * page] = 8;
    range.populate(0, 4 * page);
    expect([bytes[page], bytes[2 * page]]).toEqual([7, 8]);
    range.discard(page, page);
    expect([bytes[page], bytes[2 * page]]).toEqual([0, 8]);
  });

  it("maps one physical page at two addresses", async () => {
    const page = pageBytes();
    using file = new MemoryFile("pool", 8 * page);
    using range = new Reservation(16 * page);
    await file.allocateAsync(0, 8 * page);
    range.mapFile(0, page, file, 3 * page);
    await range.mapFileAsync(5 * page, page, file, 3 * page);
    const here = new Uint8Array(range.view(0, page));
    const there = new Uint8Array(range.view(5 * page, page));
    here[17] = 99;
    expect(there[17]).toBe(99);
    range.unmap(0, page);
    expect(there[17]).toBe(99);
    file.punch(3 * page, page);
    expect(there[17]).toBe(0);
    await range.unmapAsync(5 * page, page);
  });

  it("populates and discards off the event loop", async () => {
    using range = new Reservation(MiB, "read-write");
    await range.populateAsync(0, MiB);
    const bytes = new Uint8Array(range.view(0, MiB));
    bytes.fill(5);
    await range.discardAsync(0, MiB);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    range.adviseHuge(0, MiB, false);
  });

  it("starts at the alignment asked for", () => {
    using range = new Reservation(3 * MiB, "none", 2 * MiB);
    expect(range.address % BigInt(2 * MiB)).toBe(0n);
  });

  it("names call and reason when the kernel refuses, sync and async", async () => {
    const page = pageBytes();
    using range = new Reservation(2 * page);
    const refused = /madvise\(populate, \d+ bytes at 0\) failed: (EFAULT|ENOMEM|EINVAL) \(/;
    expect(() => range.populate(0, page)).toThrow(refused);
    await expect(range.populateAsync(0, page)).rejects.toThrow(refused);
    expect(() => new Reservation(2 ** 52)).toThrow(/mmap\(reserve \d+ bytes\) failed: ENOMEM/);
    try {
      new Reservation(2 ** 52);
    } catch (error) {
      expect(error).toBeInstanceOf(MillraceError);
      expect((error as MillraceError).code).toBe("SYSTEM_CALL_FAILED");
      expect((error as MillraceError).hint).toContain("vm.max_map_count");
    }
  });

  it("refuses ranges outside itself or off the page", () => {
    const page = pageBytes();
    using range = new Reservation(2 * page);
    using file = new MemoryFile("pool", page);
    expect(() => range.mapAnonymous(0, 3 * page)).toThrow(InvariantError);
    expect(() => range.mapAnonymous(-page, page)).toThrow(InvariantError);
    expect(() => range.mapAnonymous(1, page)).toThrow(/whole 4096-byte pages|whole/);
    expect(() => range.discard(0, 100)).toThrow(InvariantError);
    expect(() => range.mapFile(0, page, file, page)).toThrow(InvariantError);
    expect(() => range.view(page, 2 * page)).toThrow(InvariantError);
    expect(() => new Reservation(0)).toThrow(InvariantError);
    expect(() => file.punch(0, 2 * page)).toThrow(InvariantError);
  });

  it("leaves no mapping and no descriptor behind", () => {
    const page = pageBytes();
    const before = mappingCount() ?? 0;
    for (let i = 0; i < 500; i++) {
      using range = new Reservation(64 * page, "none", 1 << 16);
      using file = new MemoryFile("leak", 4 * page);
      range.mapFile(8 * page, 4 * page, file, 0);
      range.mapAnonymous(32 * page, page);
    }
    expect((mappingCount() ?? 0) - before).toBeLessThan(50);
  });

  it("can be used by no one after disposal", () => {
    const range = new Reservation(pageBytes(), "read-write");
    const bytes = new Uint8Array(range.view(0, pageBytes()));
    bytes[0] = 1;
    range[Symbol.dispose]();
    range[Symbol.dispose]();
    // A late read is a bug of the caller, but does not end the process.
    expect(bytes[0]).toBe(0);
    expect(() => range.populate(0, pageBytes())).toThrow(/disposed/);
    const file = new MemoryFile("gone", pageBytes());
    file[Symbol.dispose]();
    expect(() => file.descriptor).toThrow(/disposed/);
  });
});
