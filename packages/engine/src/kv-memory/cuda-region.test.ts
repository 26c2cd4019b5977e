import { KvOrders, ORDER_MAP, ORDER_UNMAP } from "@millrace/serving";
import { cudaDevices, memoryView } from "@millrace/system";
import { expect, test } from "vitest";
import { CudaRegion } from "./cuda-region.ts";
import { HostDeviceMemory } from "./host-device-memory.conformance.ts";
import { createKvMemory } from "./index.ts";

const page = 65536;
const at = (region: CudaRegion, place: number) =>
  new Uint8Array(memoryView(region.address + BigInt(place * page), page));

function order(op: number, slot: number, index: number, group: number, id: number): KvOrders {
  const out = new KvOrders();
  out.push(op, slot, index, group, id);
  return out;
}

test("new pages are cleared once, and a page of zeros stands behind each mapped run", () => {
  const device = new HostDeviceMemory(page);
  {
    using region = new CudaRegion(device, {
      bytes: 8 * page,
      poolBytes: 4 * page,
      pageBytes: page,
      readAheadBytes: 2 * page,
    });
    region.map(page, page, 0);
    expect(at(region, 1).every((x) => x === 0)).toBe(true);
    at(region, 1).fill(7);
    for (const behind of [2, 3]) expect(at(region, behind).every((x) => x === 0)).toBe(true);
    // The page of zeros gives way to a page, and comes back when that goes.
    region.map(2 * page, page, page);
    at(region, 2).fill(9);
    region.map(5 * page, page, 0);
    expect(at(region, 5)[0]).toBe(7);
    region.unmap(2 * page, page);
    expect(at(region, 2).every((x) => x === 0)).toBe(true);
    region.map(6 * page, page, page);
    expect(at(region, 6)[page - 1]).toBe(9);
    // Two pages, and the one of zeros; released pages live on where they are mapped.
    expect(device.livePages).toBe(3);
    region.release(page, page);
    expect(device.livePages).toBe(3);
    region.unmap(6 * page, page);
    expect(device.livePages).toBe(2);
    expect(() => region.map(page, page, 2 * page)).toThrow("holds page 0");
    expect(() => region.map(page + 1, page, 2 * page)).toThrow("no page");
  }
  expect(device.livePages).toBe(0);
});

test("a device that is full fails the order, leaves nothing behind and takes it later", async () => {
  const device = new HostDeviceMemory(page, 5);
  const options = { backend: "cuda", layout: "sliced", pageBytes: page, groups: 3 } as const;
  const geometry = { slots: 2, slotTokens: 512, layers: 2, tokenBytes: 512 };
  using memory = createKvMemory(geometry, { ...options, device });
  expect(memory.carryOut(order(ORDER_MAP, 0, 0, 0, 1))).toEqual([]);
  expect(await memory.carryOutInBackground(order(ORDER_MAP, 0, 1, 1, 2))).toEqual([]);
  expect(device.livePages).toBe(5);
  expect(memory.carryOut(order(ORDER_MAP, 1, 0, 2, 3))).toEqual([3]);
  expect(await memory.carryOutInBackground(order(ORDER_MAP, 1, 0, 2, 4))).toEqual([4]);
  expect(device.livePages).toBe(5);
  memory.carryOut(order(ORDER_UNMAP, 0, 1, 1, 5));
  expect(device.livePages).toBe(3);
  expect(memory.carryOut(order(ORDER_MAP, 1, 0, 2, 6))).toEqual([]);
});

test("pages that the device cannot map are refused, and the device is let go", () => {
  const geometry = { slots: 2, slotTokens: 512, layers: 2, tokenBytes: 512 };
  const options = { backend: "cuda", layout: "sliced", groups: 3 } as const;
  expect(() =>
    createKvMemory(geometry, {
      ...options,
      pageBytes: 4096,
      device: new HostDeviceMemory(2 * 1024 ** 2),
    }),
  ).toThrow("a KV page of 4096 bytes is no multiple of the 2097152");
  // One page is not even enough for the page of zeros and a first one: nothing is left over.
  expect(() =>
    createKvMemory(geometry, {
      ...options,
      pageBytes: page,
      device: new HostDeviceMemory(page, 0),
    }),
  ).toThrow("OUT_OF_MEMORY");
});

function devices(): number {
  try {
    return cudaDevices().length;
  } catch {
    return 0;
  }
}

test.runIf(devices() > 0)(
  "on a real CUDA device: pages map, alias, keep their bytes and go (runs only where cuInit finds a device)",
  async () => {
    const { CudaDeviceMemory } = await import("@millrace/system");
    const device = new CudaDeviceMemory(0);
    const pageBytes = device.granularityBytes;
    const freeBytes = device.freeBytes();
    using region = new CudaRegion(device, {
      bytes: 16 * pageBytes,
      poolBytes: 4 * pageBytes,
      pageBytes,
      readAheadBytes: pageBytes,
    });
    const place = (index: number) => region.address + BigInt(index * pageBytes);
    await region.prepare(0, 2 * pageBytes, 0);
    region.map(0, pageBytes, 0);
    region.map(pageBytes, pageBytes, pageBytes);
    expect(device.read(place(0), pageBytes).every((x) => x === 0)).toBe(true);
    device.write(place(0), new Uint8Array(pageBytes).fill(5));
    region.map(8 * pageBytes, pageBytes, 0);
    expect(device.read(place(8), 16)).toEqual(new Uint8Array(16).fill(5));
    expect(device.read(place(9), 16)).toEqual(new Uint8Array(16));
    region.unmap(0, pageBytes);
    expect(device.read(place(0), 16)).toEqual(new Uint8Array(16));
    expect(device.read(place(8), 16)).toEqual(new Uint8Array(16).fill(5));
    region.unmap(8 * pageBytes, pageBytes);
    region.unmap(pageBytes, pageBytes);
    region.release(0, 2 * pageBytes);
    expect(device.freeBytes()).toBeGreaterThanOrEqual(freeBytes - 2 * pageBytes);
  },
);
