import {
  KvOrders,
  ORDER_ALIAS,
  ORDER_DROP,
  ORDER_MAP,
  ORDER_PARK,
  ORDER_UNMAP,
} from "@millrace/serving";
import { mappingCount, memoryView, residentMemory } from "@millrace/system";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { KvGeometry, KvMemory } from "../contracts.ts";
import { HostDeviceMemory } from "./host-device-memory.conformance.ts";
import { createKvMemory, defaultKvBytes, type KvBackend, type MappedKvMemory } from "./index.ts";

const geometry: KvGeometry = { slots: 4, slotTokens: 100, layers: 3, tokenBytes: 96 };
const pageBytes = 4096;
const groups = 12;

const make = (backend: KvBackend, layout: "per-layer" | "sliced") =>
  createKvMemory(geometry, {
    backend,
    layout,
    pageBytes,
    groups,
    // The code of the CUDA back end over the driver's rules, on host pages: cuda-region.test.ts has a device where there is one.
    ...(backend === "cuda" && { device: new HostDeviceMemory(pageBytes) }),
  });

let ids = 0;
function orders(...list: readonly (readonly [number, number, number, number])[]): KvOrders {
  const out = new KvOrders();
  for (const [op, slot, page, phys] of list) out.push(op, slot, page, phys, ids++);
  return out;
}

/** K or V of a token as the kernels see it. */
function token(memory: KvMemory, layer: number, kind: "k" | "v", slot: number, t: number) {
  const at =
    memory.address(layer, kind) + BigInt(slot * memory.slotStride + t * memory.tokenStride);
  return new Uint8Array(memoryView(at, geometry.tokenBytes));
}

function fill(memory: KvMemory, slot: number, t: number, mark: number): void {
  for (let layer = 0; layer < geometry.layers; layer++) {
    token(memory, layer, "k", slot, t).fill(mark + layer);
    token(memory, layer, "v", slot, t).fill(mark + layer + 100);
  }
}

function expectMark(memory: KvMemory, slot: number, t: number, mark: number): void {
  for (let layer = 0; layer < geometry.layers; layer++) {
    expect(new Set(token(memory, layer, "k", slot, t))).toEqual(new Set([mark + layer]));
    expect(new Set(token(memory, layer, "v", slot, t))).toEqual(new Set([mark + layer + 100]));
  }
}

const kinds = (["memfd", "madvise", "cuda"] as const).flatMap((backend) =>
  (["per-layer", "sliced"] as const).map((layout) => [backend, layout] as const),
);

describe.each(kinds)("%s, %s", (backend, layout) => {
  test("tokens of all layers and slots have places of their own", () => {
    using memory = make(backend, layout);
    const pages = memory.slotStride / pageBytes;
    const n = Math.min(pages, 3);
    const list = [];
    for (let slot = 0; slot < 4; slot++)
      for (let page = 0; page < n; page++)
        list.push([ORDER_MAP, slot, page, 3 * slot + page] as const);
    expect(memory.carryOut(orders(...list))).toEqual([]);
    const tokens = Math.min(geometry.slotTokens, Math.floor((n * pageBytes) / memory.tokenStride));
    for (let slot = 0; slot < 4; slot++)
      for (let t = 0; t < tokens; t++) fill(memory, slot, t, (slot * 31 + t) % 90);
    for (let slot = 0; slot < 4; slot++)
      for (let t = 0; t < tokens; t++) expectMark(memory, slot, t, (slot * 31 + t) % 90);
    expect(memory.mappedGroups).toBe(4 * n);
  });

  test("what is unmapped reads as zeros, in the background too", async () => {
    using memory = make(backend, layout);
    expect(await memory.carryOutInBackground(orders([ORDER_MAP, 1, 0, 5]))).toEqual([]);
    fill(memory, 1, 0, 7);
    expectMark(memory, 1, 0, 7);
    memory.carryOut(orders([ORDER_MAP, 1, 0, 5]));
    expectMark(memory, 1, 0, 7);
    memory.carryOut(orders([ORDER_UNMAP, 1, 0, 5]));
    expect(memory.mappedGroups).toBe(0);
    expect(token(memory, 2, "v", 1, 0).every((x) => x === 0)).toBe(true);
    // On a device, what was never mapped may not be read at all.
    if (backend !== "cuda") expect(token(memory, 0, "k", 3, 99).every((x) => x === 0)).toBe(true);
  });
});

describe.each(["memfd", "cuda"] as const)("shared pages, %s", (backend) => {
  test("an alias shows the same bytes, parked pages keep them, dropped ones do not", () => {
    using memory = make(backend, "sliced");
    memory.carryOut(orders([ORDER_MAP, 0, 0, 3]));
    fill(memory, 0, 2, 40);
    memory.carryOut(orders([ORDER_ALIAS, 1, 0, 3]));
    expectMark(memory, 1, 2, 40);
    expect(memory.mappedGroups).toBe(1);
    memory.carryOut(orders([ORDER_PARK, 0, 0, 3]));
    expectMark(memory, 1, 2, 40);
    memory.carryOut(orders([ORDER_PARK, 1, 0, 3]));
    expect(memory.mappedGroups).toBe(1);
    memory.carryOut(orders([ORDER_ALIAS, 2, 0, 3]));
    expectMark(memory, 2, 2, 40);
    memory.carryOut(orders([ORDER_PARK, 2, 0, 3], [ORDER_DROP, -1, -1, 3]));
    expect(memory.mappedGroups).toBe(0);
    memory.carryOut(orders([ORDER_MAP, 2, 0, 3]));
    expect(token(memory, 0, "k", 2, 2).every((x) => x === 0)).toBe(true);
  });
});

test("memory without page identity refuses to share", () => {
  using memory = make("madvise", "sliced");
  memory.carryOut(orders([ORDER_MAP, 0, 0, 3]));
  expect(() => memory.carryOut(orders([ORDER_ALIAS, 1, 0, 3]))).toThrow("cannot share");
});

test("any sequence of orders leaves places, counts and bytes right", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...kinds),
      fc.array(fc.record({ slot: fc.nat(3), grow: fc.boolean(), background: fc.boolean() }), {
        maxLength: 60,
      }),
      async ([backend, layout], steps) => {
        using memory = make(backend, layout) as MappedKvMemory;
        const stacks: number[][] = [[], [], [], []];
        const free = Array.from({ length: groups }, (_, i) => i);
        const most = memory.slotStride / pageBytes;
        for (const { slot, grow, background } of steps) {
          const stack = stacks[slot]!;
          let order: KvOrders;
          if (grow && free.length > 0 && stack.length < most) {
            order = orders([ORDER_MAP, slot, stack.length, free[0]!]);
            stack.push(free.shift()!);
          } else if (!grow && stack.length > 0) {
            order = orders([ORDER_UNMAP, slot, stack.length - 1, stack.at(-1)!]);
            free.push(stack.pop()!);
          } else continue;
          const failed = background
            ? await memory.carryOutInBackground(order)
            : memory.carryOut(order);
          expect(failed).toEqual([]);
          const tokens = (s: number) =>
            Math.min(100, Math.floor((stacks[s]!.length * pageBytes) / memory.tokenStride));
          if (tokens(slot) > 0) fill(memory, slot, tokens(slot) - 1, 10 + slot);
          for (let s = 0; s < 4; s++)
            if (tokens(s) > 0 && s === slot) expectMark(memory, s, tokens(s) - 1, 10 + s);
          memory.checkIntegrity();
          expect(memory.mappedGroups).toBe(groups - free.length);
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("memory is taken by what is mapped and comes back", () => {
  const wide: KvGeometry = { slots: 2, slotTokens: 4096, layers: 4, tokenBytes: 1024 };
  const before = residentMemory();
  const mappings = mappingCount() ?? 0;
  const shared = () => residentMemory().sharedBytes - before.sharedBytes;
  {
    using memory = createKvMemory(wide, {
      backend: "memfd",
      layout: "per-layer",
      pageBytes: 65536,
      groups: 64,
    });
    expect(shared()).toBeLessThan(4096 * 16);
    const list = Array.from({ length: 64 }, (_, i) => [ORDER_MAP, i % 2, i >> 1, i] as const);
    memory.carryOut(orders(...list));
    expect(shared()).toBeGreaterThanOrEqual(64 * memory.groupBytes);
    expect(shared()).toBeLessThan(64 * memory.groupBytes + 4096 * 64);
    memory.carryOut(
      orders(...list.toReversed().map(([, s, p, g]) => [ORDER_UNMAP, s, p, g] as const)),
    );
    expect(shared()).toBeLessThan(4096 * 64);
  }
  expect(mappingCount() ?? 0).toBeLessThan(mappings + 10);
});

test("bad pages and too many mappings are refused", () => {
  const options = { backend: "memfd", layout: "per-layer", pageBytes, groups } as const;
  expect(() => createKvMemory(geometry, { ...options, pageBytes: 5000 })).toThrow("not possible");
  expect(() =>
    createKvMemory(
      { slots: 256, slotTokens: 32768, layers: 32, tokenBytes: 2048 },
      { ...options, groups: 100_000 },
    ),
  ).toThrow("max_map_count");
});

test("the default leaves room for weights and everything else", () => {
  expect(defaultKvBytes(0)).toBeGreaterThan(defaultKvBytes(1e9));
  expect(defaultKvBytes(1e15)).toBe(0);
});
