import { hash128 } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Source } from "../source/source.ts";
import { assignOwners, entryOverheadBytes, evenBytes, nobody } from "./ownership.ts";

/** A data set of keys alone, as large as wanted. */
function keys(length: number, bytes = 1000): Source {
  return {
    length,
    key: (i: number) => [Math.imul(i, 0x9e3779b1) >>> 0, i] as const,
    extent: () => ({ path: "/x", offset: 0, bytes }),
  } as unknown as Source;
}

describe("who keeps what", () => {
  it("is in proportion to the bytes that members offer", () => {
    const set = keys(20_000);
    const offers = [1e9, 2e9, 3e9, 4e9];
    const { items, owner } = assignOwners(
      set,
      offers.map((bytes, i) => ({ name: `s${i}`, bytes })),
    );
    offers.forEach((_, i) => {
      expect((items[i] as number) / 20_000).toBeCloseTo((i + 1) / 10, 1);
    });
    expect(items.reduce((a, b) => a + b)).toBe(20_000);
    expect(owner.includes(nobody)).toBe(false);
  });

  it("moves a lost member's items alone, and knows no order of members", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 2, maxLength: 6 }),
        fc.nat(),
        (names, pick) => {
          const set = keys(300);
          const members = names.map((name, i) => ({ name, bytes: 1e6 * (1 + i) }));
          const lost = pick % members.length;
          const before = assignOwners(set, members);
          const rest = members.filter((_, i) => i !== lost).reverse();
          const after = assignOwners(set, rest);
          for (let item = 0; item < set.length; item++) {
            const was = members[before.owner[item] as number]?.name;
            if (before.owner[item] !== lost)
              expect(rest[after.owner[item] as number]?.name).toBe(was);
          }
        },
      ),
    );
  });

  it("leaves no item out where members offer an even share with its spread, however few items", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(),
        (items, members, seed) => {
          const key = (i: number) => hash128(`${seed}/${i}`).slice(0, 2);
          // One item in seven is ten times as large as the others.
          const extent = (i: number) => ({ path: "/x", offset: 0, bytes: i % 7 ? 1e3 : 1e4 });
          const set = { ...keys(items), key, extent } as unknown as Source;
          const bytes = evenBytes(set, members);
          const shares = Array.from({ length: members }, (_, i) => ({ name: `s${i}`, bytes }));
          expect(assignOwners(set, shares).owner.includes(nobody)).toBe(false);
        },
      ),
    );
  });

  it("never plans more than a member offers, and uses it up to one item", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 1, maxLength: 5 }),
        (offers) => {
          const set = keys(200);
          const planned = assignOwners(
            set,
            offers.map((bytes, i) => ({ name: `s${i}`, bytes })),
          );
          const cost = 1000 + entryOverheadBytes;
          offers.forEach((bytes, i) => {
            expect(planned.bytes[i]).toBe((planned.items[i] as number) * cost);
            expect(planned.bytes[i]).toBeLessThanOrEqual(bytes);
          });
          expect(planned.items.reduce((a, b) => a + b)).toBe(
            planned.owner.filter((o) => o !== nobody).length,
          );
        },
      ),
    );
    const one = assignOwners(keys(200), [{ name: "s", bytes: 50_500 }]);
    expect(one.items).toEqual([Math.floor(50_500 / (1000 + entryOverheadBytes))]);
  });

  it("refuses lists that cannot be", () => {
    const share = { name: "a", bytes: 1 };
    for (const members of [
      [],
      [share, share],
      [{ name: "a", bytes: -1 }],
      [{ name: "a", bytes: Number.NaN }],
    ])
      expect(() => assignOwners(keys(3), members)).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
  });
});
