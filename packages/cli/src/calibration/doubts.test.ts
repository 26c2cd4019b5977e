import { checkStepProfile } from "@millrace/serving";
import { expect, test } from "vitest";
import { doubtsOf, profileDoubts } from "./doubts.ts";
import { disturbed } from "./machine.ts";
import { roughProfile } from "./rough-profile.conformance.ts";

const profileWith = (more: object) => checkStepProfile({ ...roughProfile, ...more }, "p.json");

test("a profile that others disturbed is doubtful, and so is a calibration that rests on it", () => {
  expect(profileDoubts(profileWith({}))).toEqual([]);
  expect(profileDoubts(profileWith({ foreignCores: 0.04 }))).toEqual([]);
  const noisy = profileWith({ foreignCores: 0.314 });
  expect(doubtsOf([], noisy)).toEqual([
    "others kept 0.31 cores busy while the profile was measured",
  ]);
  expect(profileDoubts(profileWith({ loop: null }))).toEqual([
    expect.stringContaining("too short"),
  ]);
  expect(() => profileWith({ foreignCores: -1 })).toThrow(/foreignCores/);
});

test("a machine is disturbed by other programs and by the hypervisor alike", () => {
  expect(disturbed({ foreignCores: 0.06, stolenCores: 0 })).toBe(true);
  expect(disturbed({ foreignCores: 0, stolenCores: 0.06 })).toBe(true);
  expect(disturbed({ foreignCores: 0.04, stolenCores: 0.04 })).toBe(false);
  expect(disturbed({ foreignCores: null, stolenCores: null })).toBe(false);
});
