import { expect, test } from "vitest";
import { reproduceMetron } from "./metron.ts";

test("the fluid rate tells apart what the median TPOT does not", async () => {
  const { rows } = await reproduceMetron({ quick: true, seed: 42 });
  const of = (claim: string) => rows.find((row) => row.claim.startsWith(claim))?.ours ?? Number.NaN;
  expect(of("p99 of TBT")).toBeGreaterThan(2);
  expect(of("fluid token generation rate")).toBeGreaterThan(1);
  expect(rows.at(-1)).toMatchObject({ theirs: 5, ours: 6 });
}, 90_000);
