import { expect, test } from "vitest";
import { reproduceAstra } from "./astra.ts";

test("the mixture comes near the full loss; stale hard negatives alone do not", async () => {
  const { rows } = await reproduceAstra({ quick: true, seed: 42 });
  const of = (claim: string) => rows.find((row) => row.claim.startsWith(claim))?.ours ?? Number.NaN;
  expect(of("P@1 of astra less that of the full loss")).toBeGreaterThan(-4);
  expect(of("P@1 of astra less that of stale hard")).toBeGreaterThan(3);
  expect(of("P@1 of astra as a share")).toBeGreaterThan(50);
  expect(of("P@1 of astra as a share")).toBeLessThan(105);
});
