import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomProfile } from "../allocator/allocator.conformance.ts";
import { type Choice, type ShareTerms, speedOptions, speedWithin } from "./options.ts";
import { checkSpeedProfile, rateAt, type SpeedProfile } from "./speed-profile.ts";

const share: ShareTerms = {
  cpusPerGpu: 3,
  hostBytesPerGpu: 62.5e9,
  serverGpus: 8,
  serverCpus: 24,
  serverHostBytes: 500e9,
};

/** Rises to 2.94 only with 12 CPUs and 125 GB. */
const hungry: SpeedProfile = {
  name: "hungry",
  cpus: [1, 3, 6, 9, 12],
  hostBytes: [20e9, 62.5e9, 125e9],
  rate: [
    [0, 0.3, 0.3],
    [0, 1, 1],
    [0, 1.75, 1.75],
    [0, 2, 2],
    [0, 2, 2.94],
  ],
};

describe("speed between measured points", () => {
  test("is linear in CPUs and in memory, ends with the last, and is 0 where the job does not fit", () => {
    expect(rateAt(hungry, 4, 62.5e9)).toBeCloseTo(1.25);
    expect(rateAt(hungry, 12, 93.75e9)).toBeCloseTo(2.47);
    expect(rateAt(hungry, 40, 900e9)).toBe(2.94);
    expect(rateAt(hungry, 12, 20e9)).toBe(0);
    expect(rateAt(hungry, 12, 40e9)).toBe(0);
    expect(rateAt(hungry, 0.5, 62.5e9)).toBeCloseTo(0.15);
  });

  test("bad profiles are refused", () => {
    const bad = (over: Partial<SpeedProfile>) => () => checkSpeedProfile({ ...hungry, ...over });
    expect(bad({ cpus: [3, 1, 6, 9, 12] })).toThrow(/CPU counts must ascend/);
    expect(bad({ rate: [] })).toThrow(/matrix is not 5 x 3/);
    expect(bad({ rate: hungry.rate.map((row) => row.map(() => 0)) })).toThrow(/every rate is 0/);
  });
});

describe("choices", () => {
  test("a hungry job: its floor is its share, its best the least that saturates", () => {
    const { floor, best, path } = speedOptions(hungry, 1, share);
    expect(floor).toMatchObject({ cpus: 3, hostBytes: 62.5e9, speed: 1 });
    expect(best).toMatchObject({ cpus: 12, hostBytes: 125e9, speed: 2.94 });
    expect(path[0]).toBe(floor);
    expect(path.at(-1)).toBe(best);
  });

  test("four GPUs on one server have at most its 24 CPUs", () => {
    const { best } = speedOptions(hungry, 4, share);
    expect(best).toMatchObject({ cpus: 24, hostBytes: 250e9, speed: 1.75 });
  });

  test("a job larger than a server has its share and nothing else", () => {
    const { choices, best } = speedOptions(hungry, 16, share);
    expect(choices).toHaveLength(1);
    expect(best).toMatchObject({ cpus: 48, hostBytes: 1e12, speed: 1 });
  });

  test("own memory is not cache", () => {
    const { floor } = speedOptions(hungry, 2, share, 40e9);
    expect(floor).toMatchObject({ hostBytes: 125e9, cacheBytes: 45e9 });
  });

  test("any curve: the floor is within the share, the path is concave, no choice is worse in everything", () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(1, 2, 4, 8, 16), (seed, gpus) => {
        const options = speedOptions(randomProfile(new Rng(seed), "m"), gpus, share);
        const { choices, floor, best, path } = options;
        expect(floor.cpus).toBeLessThanOrEqual(3 * gpus);
        expect(floor.hostBytes).toBeLessThanOrEqual(62.5e9 * gpus);
        expect(floor.speed).toBeGreaterThanOrEqual(1);
        const cost = (c: Choice) => c.cpus / 3 + c.hostBytes / 62.5e9;
        let slope = Number.POSITIVE_INFINITY;
        for (let i = 1; i < path.length; i++) {
          const [a, b] = [path[i - 1] as Choice, path[i] as Choice];
          const next = (b.speed - a.speed) / (cost(b) - cost(a));
          expect(next).toBeGreaterThan(0);
          expect(next).toBeLessThanOrEqual(slope * (1 + 1e-6));
          slope = next;
        }
        for (const a of choices) {
          expect(a.speed).toBeLessThanOrEqual(best.speed + 1e-9);
          const within = speedWithin(options, a.cpus, a.hostBytes);
          expect(within).toBe(a.speed);
        }
      }),
      { numRuns: 100 },
    );
  });
});
