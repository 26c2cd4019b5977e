import { Rng } from "@millrace/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isDistrusted, learn, type OnlineProfile, onlineOptions, onlineProfile } from "./online.ts";
import type { Observation } from "./refine.ts";
import type { SpeedProfile } from "./speed-profile.ts";

const share = {
  cpusPerGpu: 3,
  hostBytesPerGpu: 62.5e9,
  serverGpus: 8,
  serverCpus: 24,
  serverHostBytes: 500e9,
};
/** Flat from 6 CPUs on. */
const measured: SpeedProfile = {
  name: "m",
  cpus: [1, 3, 6, 12],
  hostBytes: [20e9],
  rate: [[100], [300], [500], [500]],
};
/** An honest job: `perCore` samples per core and second up to `most`, its cores busy below that. */
function honest(cpus: number, perCore: number, most: number): Observation {
  const rate = Math.min(most, perCore * cpus);
  return {
    cpus,
    gpus: 1,
    hostBytes: 20e9,
    wallSeconds: 300,
    cpuSeconds: (rate / perCore) * 300,
    samples: rate * 300,
    computeSeconds: (rate / most) * 300,
    waitSeconds: 300 - (rate / most) * 300,
  };
}

test("a job that gains less than its profile says is given less in time", () => {
  let online = onlineProfile(measured);
  // It believes in 500 at 6 CPUs; in truth 360 is all there is.
  for (let i = 0; i < 12; i++) online = learn(online, honest(6, 100, 360));
  const before = onlineOptions(onlineProfile(measured), 1, share).best;
  const after = onlineOptions(online, 1, share).best;
  expect(before.cpus).toBe(6);
  expect(after.speed).toBeLessThan(before.speed * 0.8);
  expect(learn(online, { ...honest(6, 100, 360), wallSeconds: 1 })).toBe(online);
});

test("whoever makes reports up is left with the share, until the reports add up again", () => {
  let online: OnlineProfile = learn(onlineProfile(measured), honest(3, 100, 900));
  for (let i = 0; i < 5; i++) {
    expect(isDistrusted(online)).toBe(false);
    online = learn(online, { ...honest(6, 100, 900), samples: 1e6 });
  }
  expect(isDistrusted(online)).toBe(true);
  expect(online.believed.rate).toEqual(
    learn(onlineProfile(measured), honest(3, 100, 900)).believed.rate,
  );
  expect(onlineOptions(online, 2, share).choices).toHaveLength(1);
  expect(isDistrusted(learn(online, honest(6, 100, 900)))).toBe(false);
});

test("whatever is reported, rates stay within four times of what was measured", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Rng(seed);
      let online = onlineProfile(measured);
      for (let i = 0; i < 60; i++) {
        const cpus = rng.int(1, 12);
        const wallSeconds = 300;
        const computeSeconds = rng.next() * wallSeconds;
        online = learn(online, {
          cpus,
          gpus: 1,
          hostBytes: 20e9,
          wallSeconds,
          cpuSeconds: rng.next() * cpus * wallSeconds,
          samples: 10 ** (rng.next() * 8),
          computeSeconds,
          waitSeconds: wallSeconds - computeSeconds,
        });
        online.believed.rate.forEach((row, r) => {
          const own = measured.rate[r]?.[0] ?? 0;
          expect(row[0]).toBeGreaterThanOrEqual(own / 4 - 1e-9);
          expect(row[0]).toBeLessThanOrEqual(own * 4 + 1e-9);
        });
        expect(onlineOptions(online, 1, share).floor.speed).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 40 },
  );
});
