import { expect, it } from "vitest";
import { counts, question, shareOf, sizeOrShare } from "./amounts.ts";

it("sizes are bytes or a share of the data set", () => {
  expect(sizeOrShare("64GB", 1e12, "--cache")).toBe(64e9);
  expect(sizeOrShare("40%", 1e12, "--cache")).toBe(4e11);
  expect(() => sizeOrShare("140%", 1e12, "--cache")).toThrow(/--cache/);
  expect(() => sizeOrShare("much", 1e12, "--cache")).toThrow(/--cache/);
});

it("shares and lists are read, or refused with the flag's name", () => {
  expect([
    shareOf("35%", "--shares"),
    shareOf("0.35", "--shares"),
    shareOf(" 1 ", "--shares"),
  ]).toEqual([0.35, 0.35, 1]);
  for (const bad of ["", "%", "101%", "-1", "x"])
    expect(() => shareOf(bad, "--shares")).toThrow(expect.objectContaining({ code: "USAGE" }));
  expect(counts("4, 8", "--jobs")).toEqual([4, 8]);
  for (const bad of ["", "4,", "0", "1.5", "x"])
    expect(() => counts(bad, "--jobs")).toThrow(expect.objectContaining({ code: "USAGE" }));
});

it("questions name a resource and an amount", () => {
  expect(question("cache=50%", 1000)).toEqual({ resource: "cacheBytes", value: 500 });
  expect(question("cores=8", 1)).toEqual({ resource: "cores", value: 8 });
  expect(question("storage=500MB/s", 1)).toEqual({ resource: "storage", value: 5e8 });
  expect(question("network=1.25GB/s", 1)).toEqual({ resource: "network", value: 1.25e9 });
  expect(question("accelerator=2000/s", 1)).toEqual({ resource: "accelerator", value: 2000 });
  expect(question("jobs=4", 1)).toEqual({ resource: "jobs", value: 4 });
  for (const bad of [
    "",
    "jobs=1.5",
    "jobs=2,4",
    "cores",
    "cores=",
    "cores=-1",
    "toString=1",
    "gpus=8",
    "accelerator=fast",
  ])
    expect(() => question(bad, 1)).toThrow(expect.objectContaining({ code: "USAGE" }));
});
