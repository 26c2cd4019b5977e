/**
 * The capacity search against a true capacity: probes and error without noise, with wrong verdicts, from a prediction.
 * Seeds are fixed, so that it prints the same everywhere. capacity-live.bench.ts is the same against an endpoint.
 */
import { type CapacityEstimate, CapacitySearch } from "@millrace/bench";
import { Rng } from "@millrace/core";
import { report } from "./harness.ts";

const CAPACITY = 40;

interface Found extends CapacityEstimate {
  readonly off: number;
}

function search(
  capacityQps: number,
  options: { readonly startQps: number; readonly width?: number },
  wrong = 0,
  seed: number | string = 0,
): Found {
  const rng = new Rng(seed);
  const machine = new CapacitySearch(options);
  for (let step = machine.next(); step.kind === "probe"; step = machine.next()) {
    const { rateQps } = step;
    const met = rateQps <= capacityQps !== rng.next() < wrong;
    machine.record({ rateQps, outcome: met ? "met" : "missed" });
  }
  const estimate = machine.estimate();
  return { ...estimate, off: Math.abs(estimate.valueQps / capacityQps - 1) };
}

const mean = (values: readonly number[]): number =>
  values.reduce((a, b) => a + b, 0) / values.length;
const quantile = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.ceil(q * values.length) - 1] ?? Number.NaN;
const spread = (name: string, values: readonly number[], unit: string): void => {
  for (const [what, q] of [
    ["p50", 0.5],
    ["p90", 0.9],
    ["p95", 0.95],
    ["max", 1],
  ] as const)
    report(`${name}, ${what}`, quantile(values, q), unit);
};

const one = search(CAPACITY, { startQps: 1 });
report("capacity 40 from 1, no noise: probes", one.probes, "", 12);
report("capacity 40 from 1, no noise: error", 100 * one.off, "%", 2.5);

const many = Array.from({ length: 200 }, (_, k) => search(2 * 50 ** (k / 200), { startQps: 1 }));
spread(
  "capacities 2 to 100 from 1, no noise: probes",
  many.map((f) => f.probes),
  "",
);
spread(
  "capacities 2 to 100 from 1, no noise: error",
  many.map((f) => 100 * f.off),
  "%",
);

for (const wrong of [0.05, 0.1, 0.2]) {
  const trials = Array.from({ length: 1000 }, (_, k) =>
    search(CAPACITY, { startQps: 1 }, wrong, `bench/${k}`),
  );
  const name = `${100 * wrong} % wrong verdicts, 1000 trials`;
  report(`${name}: within 5 %`, trials.filter((f) => f.off <= 0.05).length / 10, "%");
  spread(
    `${name}: probes`,
    trials.map((f) => f.probes),
    "",
  );
  spread(
    `${name}: error`,
    trials.map((f) => 100 * f.off),
    "%",
  );
  const held = trials.filter((f) => f.lowQps <= CAPACITY && CAPACITY <= f.highQps).length;
  report(`${name}: 90 % interval holds the capacity`, held / 10, "%");
}

// Predictions as `millrace plan` makes them: off by 8 % at most (docs/decisions/0030), either way.
const seeded = Array.from({ length: 200 }, (_, k) =>
  search(CAPACITY, { startQps: CAPACITY * (0.92 + (0.16 * k) / 199), width: 0.08 }),
);
report("from a prediction off by up to 8 %: probes, mean", mean(seeded.map((f) => f.probes)), "");
spread(
  "from a prediction off by up to 8 %: error",
  seeded.map((f) => 100 * f.off),
  "%",
);
report(
  "from a prediction off by up to 8 %: probes saved",
  100 * (1 - mean(seeded.map((f) => f.probes)) / one.probes),
  "%",
  50,
);
